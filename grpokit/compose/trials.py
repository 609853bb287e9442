r"""Each reward on real rows before anything heavy loads: the gold answer, and a wrong one.

A reward may expect the answer in a box, behind ``####``, in tags, or bare. So the gold answer is
written in each of these ways, the way that the whole recipe rewards best is taken, and the trial
says which one it was. All ways go through the same scorer as a training step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grpokit.scoring.facts import needs_model
from grpokit.spec.contracts import Problem
from grpokit.spec.flow import Prompt, ScoreFailure, Scores
from grpokit.spec.plan import RewardTrial

if TYPE_CHECKING:
    from grpokit.scoring.scorer import RewardSetup, Scorer
    from grpokit.spec.recipe import Recipe

__all__ = ["Trials", "final_answer", "paid", "remarks", "try_rewards", "ways", "wrong_answer"]

SHOWN = 2
"""Rows whose scores are shown."""
LONG = 1000
"""Digits from which a number is treated as a word; Python refuses to read 4301 of them."""
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_FIRST = {"boxed": "boxed", "hash": "hash", "think-answer": "tags", "plain": "sentence"}


@dataclass(kw_only=True)
class Trials:
    """What the rewards said, and what that means."""

    trials: list[RewardTrial] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    way: str = ""


def final_answer(answer: object) -> str:
    """What follows the last ``####`` (GSM8K writes its solutions so), else the whole answer."""
    return str(answer).rpartition("####")[2].strip()


def wrong_answer(answer: str) -> str:
    """An answer of the same kind that is wrong: one more than a number, other words for words."""
    if len(answer) < LONG and _NUMBER.fullmatch(answer):
        text = answer.replace(",", "")
        return str(float(text) + 1) if "." in text else str(int(text) + 1)
    return f"not {answer}" if answer else "wrong"


def ways(answer: str, template: str = "plain") -> dict[str, str]:
    """Name -> completion with this final answer; the way that the prompt asks for comes first."""
    found = {
        "sentence": f"The answer is {answer}.",
        "boxed": f"The answer is \\boxed{{{answer}}}.",
        "hash": f"This follows from the question.\n#### {answer}",
        "tags": f"<think>\nThis follows from the question.\n</think>\n<answer>\n{answer}\n</answer>",
        "bare": answer,
    }
    first = _FIRST.get(template, "sentence")
    return {first: found[first], **found}


def try_rewards(
    recipe: Recipe, prompts: Sequence[Prompt], scorer: Scorer, *, whole: bool = True
) -> Trials:
    """Scores gold and wrong answers to the prompts, whose rows have an ``answer``.

    ``whole``: these are all rewards of the recipe, so that their sum means something. The first ``SHOWN`` rows are tried in every way and shown; the others, in the chosen way, only
    look for rows on which a reward fails. Where a call costs money they are left out.
    """
    template = recipe.prompt.use
    names = list(ways("", template))
    shown, rest = prompts[:SHOWN], prompts[SHOWN:]
    if paid(scorer.setups):
        rest = ()
    asked = 2 * (len(shown) + len(rest))
    texts = [_pairs(prompt, template, names) for prompt in shown]
    first = _score(scorer, shown, texts)
    best = max(range(len(names)), key=lambda way: (_gap(first, way), -way))
    found = Trials(way=names[best])
    failures = [each for each in first.failures if each.sample // 2 == best]
    found.trials += _shown(first, best, shown, texts)
    if rest:
        more = [_pairs(prompt, template, [found.way]) for prompt in rest]
        failures += _score(scorer, rest, more).failures
    found.problems += _failed(failures, asked, recipe)
    if not failures and whole and not _cautioned(scorer.setups):
        found.problems += _pointless(first, best, found.way, shown)
    return found


def remarks(setups: Sequence[RewardSetup]) -> list[Problem]:
    """What a user should know of these rewards before a run: their authors' cautions, and which are not tried."""
    found = [
        Problem(
            level="warning",
            fact=f"the reward {setup.name} of {setup.entry.origin}: {caution}",
            remedy="measure what it is to improve: eval.every with a reward that looks at the answer",
            code="P213",
            key=f"rewards.{place}",
        )
        for place, setup in enumerate(setups)
        if (caution := _caution(setup))
    ]
    blind = [setup.name for setup in setups if needs_model(setup.entry)]
    if blind:
        names = ", ".join(blind)
        fact = f"not tried: {names}, for want of the policy, which says how probable texts are"
        remedy = "`grpokit plan --probe` opens it and scores one step's completions"
        found.append(Problem(level="info", fact=fact, remedy=remedy, code="P214", key="rewards"))
    return found


def _caution(setup: RewardSetup) -> str:
    return getattr(setup.entry.spec, "caution", "") if setup.weight else ""


def _cautioned(setups: Sequence[RewardSetup]) -> bool:
    """Whether a plan warns of a reward already, and the gold answer need not be worth more."""
    return any(map(_caution, setups))


def paid(setups: Sequence[RewardSetup]) -> list[str]:
    """Names of the rewards whose calls cost money."""
    return [setup.name for setup in setups if getattr(setup.entry.spec, "paid", False)]


def _pairs(prompt: Prompt, template: str, names: Sequence[str]) -> list[str]:
    """Gold and wrong answer in each of the named ways."""
    answer = final_answer(prompt.row["answer"])
    gold, wrong = ways(answer, template), ways(wrong_answer(answer), template)
    return [text for name in names for text in (gold[name], wrong[name])]


def _score(scorer: Scorer, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> Scores:
    return scorer.score_texts(
        [prompt.row for prompt in prompts],
        texts,
        messages=[prompt.messages for prompt in prompts],
        indices=[prompt.index for prompt in prompts],
    )


def _gap(scores: Scores, way: int) -> float:
    """How much more the gold answers earn than the wrong ones, in this way of writing them."""
    return sum((row[2 * way] or 0.0) - (row[2 * way + 1] or 0.0) for row in scores.total)


def _shown(
    scores: Scores, way: int, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]
) -> list[RewardTrial]:
    failed = {
        (each.reward, each.prompt_index): f"{each.kind}: {each.message}"
        for each in reversed(scores.failures)
        if each.sample // 2 == way
    }
    return [
        RewardTrial(
            reward=name,
            row=prompt.index,
            gold=table[position][2 * way],
            wrong=table[position][2 * way + 1],
            completion=texts[position][2 * way],
            problem=failed.get((name, position), ""),
        )
        for name, table in scores.rewards.items()
        for position, prompt in enumerate(prompts)
    ]


def _failed(failures: Sequence[ScoreFailure], asked: int, recipe: Recipe) -> list[Problem]:
    by_reward: dict[str, list[ScoreFailure]] = {}
    for each in failures:
        by_reward.setdefault(each.reward, []).append(each)
    problems = []
    for name, found in by_reward.items():
        first = found[0]
        rows = sorted({each.row for each in found})
        listed = ", ".join(map(str, rows[:5])) + (" ..." if len(rows) > 5 else "")
        problems.append(
            Problem(
                level="error" if len(found) > recipe.scoring.max_error_rate * asked else "warning",
                fact=(
                    f"the reward {name} of {first.plugin} failed on row {first.row}: "
                    f"{first.kind}: {first.message}; {len(found)} of {asked} trials failed "
                    f"(rows {listed})"
                ),
                remedy=first.remedy or "repair the reward or the row",
                code="P204",
                key="rewards",
            )
        )
    return problems


def _pointless(scores: Scores, way: int, name: str, prompts: Sequence[Prompt]) -> list[Problem]:
    """A total that does not prefer the gold answer teaches nothing, or the wrong thing."""
    for position, prompt in enumerate(prompts):
        gold, wrong = scores.total[position][2 * way : 2 * way + 2]
        if gold is None:
            fact = f"no reward applies to the gold answer of row {prompt.index}"
        elif wrong is not None and gold <= wrong:
            fact = (
                f"the gold answer of row {prompt.index} earns {gold:g} and a wrong one {wrong:g} "
                f"(written in {len(ways(''))} ways, best: {name})"
            )
        else:
            continue
        return [
            Problem(
                level="warning",
                fact=fact,
                remedy="check what the rewards read: the column `answer`, the form of the answer",
                code="P205",
                key="rewards",
            )
        ]
    return []
