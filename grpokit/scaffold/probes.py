"""What every reward promises, asked with hostile and odd completions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpokit.registry.catalog import Entry
    from grpokit.scoring.call import RewardCall
    from grpokit.scoring.values import Outcome

__all__ = ["PROBES", "SECONDS", "contract_problems", "score_texts"]

Row = Mapping[str, Any]

PROBES: Mapping[str, str] = {
    "empty": "",
    "blank": " \n\t ",
    "words": "The answer is 4, because two and two are four.",
    "unicode": "答案是四 \u0664 \uff14 \u2212 \u202e 👩\u200d🔬 e\u0301 \ufeff",
    "control": "\x00\x1b[31mred\x1b[0m\r\x07",
    "lone surrogate": "\ud800",
    "markup": "[/INST] <answer> {braces} %s $\\boxed{\\frac{1}{2}}$ <think></think>",
    "open braces": "\\boxed{" * 2000,
    "long word": "a" * 100_000,
    "long digits": "7" * 100_000,
    "long text": "4 = 2 + 2. " * 9_091,
}
"""Completions that a model can emit and every reward must survive."""

SECONDS = 2.0
"""What one call may take, on the longest probe."""


def contract_problems(
    reward: Entry | Callable[..., Any], row: Row, settings: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """What a reward does on the probes that no reward may do."""
    from grpokit.registry.catalog import Entry
    from grpokit.registry.resolve import create
    from grpokit.scoring.call import RewardCall
    from grpokit.spec.components import RewardSpec

    bounds, deterministic = None, True
    function: Any = reward
    if isinstance(reward, Entry):
        function = create(reward, settings or {})
        if isinstance(reward.spec, RewardSpec):
            bounds, deterministic = reward.spec.range, reward.spec.deterministic
    call = RewardCall(function)
    try:
        yield from _reward_problems(call, row, bounds, deterministic=deterministic)
    finally:
        call.close()


def score_texts(call: RewardCall, row: Row, texts: list[str]) -> list[Outcome]:
    """What the reward says about completions of one row; a reward of groups gets them as one group."""
    from grpokit.scoring.call import Batch, Item, Question

    question = Question(row, ({"role": "user", "content": str(row.get("question", ""))},))
    items = tuple(
        Item(question=0, sample=number, completion=text, tokens=len(text))
        for number, text in enumerate(texts)
    )
    batch = Batch((question,), items)
    units = batch.units(call.asked)
    found: dict[int, Outcome] = {}
    call.run(batch, units, lambda number, said: found.update(zip(units[number], said, strict=True)))
    return [found[number] for number in range(len(texts))]


def _reward_problems(
    call: RewardCall, row: Row, bounds: tuple[float, float] | None, *, deterministic: bool
) -> Iterator[str]:
    missing = call.asked.missing(tuple(row))
    if missing:
        yield f"it asks for {', '.join(missing)}; the row has {', '.join(row)}"
        return
    probes = dict(PROBES)
    if "answer" in row:
        probes["the answer"] = str(row["answer"])
        probes["the answer, boxed"] = f"So it is \\boxed{{{row['answer']}}}."
    for name, text in probes.items():
        began = time.perf_counter()
        (first,) = score_texts(call, row, [text])
        seconds = time.perf_counter() - began
        yield from (f"{name!r}: {problem}" for problem in outcome_problems(first, bounds))
        if seconds > SECONDS:
            yield f"{name!r}: took {seconds:.1f} s; the limit is {SECONDS:g} s"
        elif deterministic and first.fault is None:
            (again,) = score_texts(call, row, [text])
            if again.value != first.value:
                yield f"{name!r}: scored {first.value} first and {again.value} again"


def outcome_problems(outcome: Outcome, bounds: tuple[float, float] | None) -> Iterator[str]:
    """A fault, or a score outside of what the reward declares."""
    if outcome.fault is not None:
        yield f"{outcome.fault.message}; {outcome.fault.remedy}"
    elif bounds is not None and outcome.value is not None:
        low, high = bounds
        if not low <= outcome.value <= high:
            yield f"scored {outcome.value}, outside its declared range {low} to {high}"
