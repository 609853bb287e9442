"""Advice about the settings of named algorithms and parts: the values that their authors ran.

The defaults are those values, so these rules speak only where a recipe sets another one. A rule
finds its setting under ``algorithm.with`` and under ``algorithm.parts.AXIS.with`` alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from grpokit.compose.rule import Facts, Rule

__all__ = ["NAMED_RULES"]

CPPO = "CPPO, 2503.22342"
MANY_TOKENS = 2**17
"""Tokens of a step from which sampling deserves an engine of its own."""


def _settings(facts: Facts, *names: str) -> Iterator[dict[str, Any]]:
    """The settings that the recipe writes for components of these names."""
    algorithm = facts.recipe.algorithm
    for section in (algorithm, *algorithm.parts.values()):
        if section.use.rpartition("/")[2] in names:
            yield section.with_


def _number(settings: dict[str, Any], key: str) -> float | None:
    value = settings.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _outside(
    names: tuple[str, ...], key: str, low: float, high: float, words: str
) -> Callable[[Facts], str]:
    """A check: the setting, where it is written, lies in [low, high]."""

    def check(facts: Facts) -> str:
        for settings in _settings(facts, *names):
            value = _number(settings, key)
            if value is not None and not low <= value <= high:
                return f"{key} {value:g}; {words}"
        return ""

    return check


def _kept(facts: Facts) -> Iterator[float]:
    """Completions a question that CPPO keeps, where the recipe says it."""
    for settings in _settings(facts, "cppo", "prune"):
        rate, keep = _number(settings, "rate"), _number(settings, "keep")
        if rate is not None:
            yield facts.recipe.rollout.group * (1 - rate)
        elif keep is not None:
            yield keep


def _pruned(facts: Facts) -> str:
    group = facts.recipe.rollout.group
    for kept in _kept(facts):
        rate = 1 - kept / group
        if rate > 0.875:
            return (
                f"{rate:.2%} of the completions are pruned; 93.75 % lost accuracy, 87.5 % did not"
            )
    return ""


def _one_kept(facts: Facts) -> str:
    if any(kept < 2 for kept in _kept(facts)):
        return "one completion a question stays; two were best"
    return ""


def _filtered(facts: Facts) -> str:
    group = facts.recipe.rollout.group
    for settings in _settings(facts, "gfpo", "group-filter"):
        keep = _number(settings, "keep")
        if keep is not None and not 1 / 6 - 1e-9 <= keep / group <= 1 / 2:
            return f"{keep:g} of {group} completions train; a sixth to a half has been used"
    return ""


def _cache(facts: Facts) -> str:
    """DAPO: a cache of 4096 before a limit of 20480."""
    limit = facts.recipe.rollout.max_tokens
    for key, names in (("overlong_cache", ("dapo",)), ("cache", ("overlong",))):
        for settings in _settings(facts, *names):
            cache = _number(settings, key)
            if cache is not None and not 0.1 <= cache / limit <= 0.4:
                return f"a cache of {cache:g} tokens before {limit}; a fifth of the limit was used"
    return ""


def _engine(facts: Facts) -> str:
    recipe = facts.recipe
    rollout = recipe.rollout
    tokens = rollout.prompts * rollout.group * rollout.max_tokens
    known = recipe.backend.use in ("hf", "hf/hf")
    if not known or recipe.backend.with_.get("rollouts") == "vllm" or tokens < MANY_TOKENS:
        return ""
    return f"a step draws up to {tokens:,} tokens, and sampling is most of a step's time"


def _short_prompts(facts: Facts) -> str:
    value = facts.recipe.rollout.max_prompt_tokens
    return (
        f"prompts are limited to {value} tokens; 256 and 512 were used"
        if value and value < 256
        else ""
    )


NAMED_RULES: tuple[Rule, ...] = (
    Rule(
        id="H15",
        level="info",
        key="algorithm.with.epsilon_high",
        source="DAPO, 2503.14476",
        check=_outside(("dapo",), "epsilon_high", 0.28, 0.28, "0.28 is the paper's"),
    ),
    Rule(
        id="H16",
        level="info",
        key="algorithm.with.delta",
        source="Unsloth guide to reinforcement learning; INTELLECT-2, 2505.07291",
        check=_outside(
            ("grpo", "dapo", "dr-grpo", "clip", "cppo"), "delta", 1.5, 4.0, "1.5 to 4 was used"
        ),
    ),
    Rule(
        id="H21",
        level="info",
        key="backend.with.rollouts",
        source="Unsloth guide to reinforcement learning; Temporal Clue, OpenPipe",
        check=_engine,
        remedy="--set backend.with.rollouts=vllm samples with vLLM, where it is installed "
        "(`grpokit doctor` says)",
    ),
    Rule(
        id="H23",
        level="info",
        key="rollout.max_prompt_tokens",
        source=f"{CPPO}; Unsloth",
        check=_short_prompts,
    ),
    Rule(
        id="H33",
        level="warning",
        key="algorithm.with.rate",
        source=f"{CPPO}, tables 1 and 2",
        check=_pruned,
        remedy="--set algorithm.with.rate=0.875",
    ),
    Rule(
        id="H34",
        level="warning",
        key="algorithm.with.keep",
        source=f"{CPPO}, table 1",
        check=_one_kept,
        remedy="keep two or more, or draw larger groups",
    ),
    Rule(
        id="H35",
        level="info",
        key="algorithm.with.epsilon",
        source="GSPO, 2507.18071",
        check=_outside(
            ("gspo", "gspo-token"), "epsilon", 3e-4, 4e-4, "ratios of whole completions need 3e-4"
        ),
    ),
    Rule(
        id="H36",
        level="info",
        key="algorithm.with.low",
        source="GMPO, 2507.20673",
        check=_outside(("gmpo", "gmpo-clip"), "low", 0.4, 0.4, "0.4 is the paper's"),
    ),
    Rule(
        id="H36",
        level="info",
        key="algorithm.with.high",
        source="GMPO, 2507.20673",
        check=_outside(("gmpo", "gmpo-clip"), "high", 0.4, 0.4, "0.4 is the paper's"),
    ),
    Rule(
        id="H37",
        level="info",
        key="algorithm.with.keep",
        source="GFPO, 2508.09726, table 1",
        check=_filtered,
    ),
    Rule(
        id="H39",
        level="info",
        key="algorithm.with.max_rounds",
        source="DAPO, 2503.14476",
        check=_outside(("dapo", "dynamic-sampling"), "max_rounds", 1, 10, "10 rounds at most"),
    ),
    Rule(
        id="H40",
        level="info",
        key="algorithm.with.overlong_cache",
        source="DAPO, 2503.14476",
        check=_cache,
    ),
    Rule(
        id="H42",
        level="info",
        key="algorithm.with.epsilon_high",
        source="ProRL, 2505.24864",
        check=_outside(("prorl",), "epsilon_high", 0.4, 0.4, "0.4 is the paper's"),
    ),
    Rule(
        id="H43",
        level="info",
        key="algorithm.parts.correction.with.cap",
        source="truncated importance sampling; TRL takes 3",
        check=_outside(("truncate", "truncate-sequence"), "cap", 2.0, 3.0, "2 to 3 was used"),
    ),
    Rule(
        id="H47",
        level="info",
        key="algorithm.parts.sampler.with.share",
        source="Hard Examples Are All You Need, 2508.14094",
        check=_outside(("hardest",), "share", 0.1, 0.1, "a tenth of the rows was best"),
    ),
    Rule(
        id="H57",
        level="info",
        key="algorithm.with.beta",
        source="QRPO, 2507.08068",
        check=_outside(("qrpo",), "beta", 0.003, 0.003, "0.003 is the authors' value"),
    ),
)
