"""What the rewards say about themselves."""

from __future__ import annotations

from typing import Any

from grpokit.api import RewardSpec

__all__ = ["REWARDS"]

_HERE = "grpokit_math.rewards"
_GOLD = ("answer",)
_READ = f"{_HERE}.answer:read_answer"
_ANYWHERE = (("extract", ["boxed", "tag", "hash", "nearest", "last-number"]),)


def _spec(
    name: str,
    summary: str,
    target: str,
    config: str = "",
    *,
    columns: tuple[str, ...] = (),
    range: tuple[float, float] | None = (0.0, 1.0),  # noqa: A002  # the spec's word
    **more: Any,
) -> RewardSpec:
    module = target.partition(":")[0]
    return RewardSpec(
        name=name,
        summary=summary,
        target=f"{_HERE}.{target}",
        config=f"{_HERE}.{module}:{config}" if config else "",
        columns=columns,
        range=range,
        **more,
    )


REWARDS = (
    _spec(
        "accuracy",
        "The extracted answer equals the gold answer, as text, number, set or expression.",
        "accuracy:accuracy",
        "AccuracyConfig",
        columns=_GOLD,
        range=None,
        answer=_READ,
        lenient=_ANYWHERE,
    ),
    _spec(
        "boxed-format",
        "The completion has a closed, non-empty box outside of thinking blocks.",
        "boxed:boxed_format",
        form=True,
    ),
    _spec(
        "gsm8k-correctness",
        "2 if the answer tag holds the gold answer, else 0.",
        "gsm8k:correctness",
        "CorrectnessConfig",
        columns=_GOLD,
        answer=f"{_HERE}.gsm8k:correctness_answer",
        range=(0.0, 2.0),
    ),
    _spec(
        "gsm8k-int",
        "0.5 if the answer tag holds an integer.",
        "gsm8k:int_format",
        "IntConfig",
        range=(0.0, 0.5),
    ),
    _spec(
        "gsm8k-soft-format",
        "0.5 if the completion begins with a reasoning and an answer block.",
        "gsm8k:soft_format",
        "SoftConfig",
        range=(0.0, 0.5),
        form=True,
    ),
    _spec(
        "gsm8k-strict-format",
        "0.5 if the completion is a reasoning and an answer block, to the line break.",
        "gsm8k:strict_format",
        "StrictConfig",
        range=(0.0, 0.5),
        form=True,
    ),
    _spec(
        "gsm8k-xml-count",
        "0.125 for each of four tags that stands once on its line, less for text behind them.",
        "gsm8k:xml_count",
        "XmlCountConfig",
        range=None,
    ),
    _spec(
        "proximity",
        "5 for the gold number down to -4.5: the closer the number, the more.",
        "working:proximity",
        "CloseConfig",
        columns=_GOLD,
        range=(-4.5, 5.0),
    ),
    _spec(
        "match-format-exact",
        "3 if the completion ends with a solution behind its working out.",
        "working:match_format_exact",
        "ExactConfig",
        range=(0.0, 3.0),
        form=True,
    ),
    _spec(
        "match-format-approx",
        "+0.5 for each tag of working out and solution that occurs once, -1 for the others.",
        "working:match_format_approx",
        "ApproximateConfig",
        range=(-4.0, 2.0),
    ),
    _spec(
        "check-numbers",
        "3.5 for the right number in the solution, -1.5 for a wrong one, -2.5 for none.",
        "working:check_numbers",
        "NumbersConfig",
        columns=_GOLD,
        answer=f"{_HERE}.working:solution_number",
        range=(-2.5, 3.5),
    ),
    _spec(
        "arithmetic",
        "+1 or -1 for a number, +3 or -3 for the right one.",
        "arithmetic:arithmetic",
        "ArithmeticConfig",
        columns=_GOLD,
        answer=_READ,
        lenient=_ANYWHERE,
        range=(-4.0, 4.0),
    ),
    _spec(
        "email",
        "A reply has the keyword, the ideal text, the recipient, a signature, and is not too long.",
        "email:email",
        "EmailConfig",
        range=(-1.0, 4.0),
        pays=("length",),
    ),
    _spec(
        "rubric",
        "Weighted items that a program can check, such as words that have to occur.",
        "rubric:rubric",
        "RubricConfig",
        range=None,
    ),
    _spec(
        "cosine-length",
        "A right answer is worth more when short, a wrong one costs less when long.",
        "lengths:cosine_length",
        "CosineConfig",
        columns=_GOLD,
        range=None,
        pays=("length",),
    ),
    _spec(
        "soft-overlong",
        "0, and near the limit of tokens down to -1 (DAPO).",
        "lengths:soft_overlong",
        "OverlongConfig",
        range=(-1.0, 0.0),
        pays=("length",),
    ),
    _spec(
        "len-reward",
        "Among the completions of a prompt the short ones earn more (Kimi k1.5).",
        "lengths:len_reward",
        "LenConfig",
        columns=_GOLD,
        range=(-0.5, 0.5),
        pays=("length",),
    ),
    _spec(
        "repetition",
        "A penalty for the share of word n-grams that are repeats.",
        "shape:repetition",
        "RepetitionConfig",
        range=None,
    ),
    _spec(
        "tag-count",
        "0.25 for each of the think and answer tags that occurs once and in order.",
        "shape:tag_count",
        "TagCountConfig",
        form=True,
    ),
    _spec(
        "reasoning-steps",
        "The number of steps that are marked as such, up to three.",
        "shape:reasoning_steps",
        "StepsConfig",
    ),
    _spec(
        "language-mix",
        "A penalty for the share of letters of other scripts.",
        "language:language_mix",
        "MixConfig",
        range=(-1.0, 0.0),
    ),
)
