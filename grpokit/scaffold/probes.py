"""What every reward promises, asked with hostile and odd completions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from grpokit.registry.catalog import Entry
    from grpokit.scoring.call import RewardCall
    from grpokit.scoring.scorer import Scorer
    from grpokit.scoring.values import Outcome
    from grpokit.spec.flow import Message, Scores

__all__ = ["PROBES", "SECONDS", "Asker", "contract_problems", "outcome_problems"]

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
DEADLINE = 10.0
"""Seconds after which a call that has not come back is ended; what a recipe allows by default."""
HANGS = 2
"""Probes without an answer after which nothing more is asked."""


class Asker:
    """One reward, asked about completions of rows.

    A registered reward is asked in a worker of its own, as in training: one that hangs, prints, exits
    or eats memory loses the completion and ends nothing. A bare function is called here.
    """

    def __init__(
        self, reward: Entry | Callable[..., Any], settings: Mapping[str, Any] | None = None
    ) -> None:
        """Starts the worker.

        Raises:
            ComponentError: the reward cannot be imported or built.
            ValidationError: the settings are not those that it has.
        """
        from grpokit.registry.catalog import Entry
        from grpokit.registry.resolve import build_config
        from grpokit.scoring.call import RewardCall
        from grpokit.scoring.scorer import RewardSetup, Scorer
        from grpokit.spec.components import RewardSpec

        self.bounds: tuple[float, float] | None = None
        self.deterministic = True
        self._scorer: Scorer | None = None
        self._call: RewardCall | None = None
        self._warm = False
        if not isinstance(reward, Entry):
            self._call = RewardCall(reward)
            self.asked = self._call.asked
            return
        if isinstance(reward.spec, RewardSpec):
            self.bounds, self.deterministic = reward.spec.range, reward.spec.deterministic
        build_config(reward, settings or {})  # here, where what it says can be told
        setup = RewardSetup(name=reward.spec.name, entry=reward, settings=settings or {})
        self._scorer = Scorer([setup], timeout=DEADLINE)
        self.asked = self._scorer.asked()[setup.name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for each in (self._call, self._scorer):
            if each is not None:
                each.close()

    def scores(self, row: Row, texts: Sequence[str]) -> list[Outcome]:
        """What it says about completions of one row; a reward of groups gets them as one group."""
        if self._call is not None:
            return _call(self._call, row, texts)
        assert self._scorer is not None
        if not self._warm:  # what it imports at its first call is not what a call takes
            self._warm = True
            self._scorer.score_texts([row], [[""]], messages=[_messages(row)])
        return _outcomes(self._scorer.score_texts([row], [texts], messages=[_messages(row)]))

    def timed(self, row: Row, text: str) -> tuple[Outcome, float]:
        """What it says about one completion, and its seconds."""
        began = time.perf_counter()
        (outcome,) = self.scores(row, [text])
        return outcome, time.perf_counter() - began


def _messages(row: Row) -> list[Message]:
    return [{"role": "user", "content": str(row.get("question", ""))}]


def _call(call: RewardCall, row: Row, texts: Sequence[str]) -> list[Outcome]:
    from grpokit.scoring.call import Batch, Item, Question

    items = [
        Item(question=0, sample=number, completion=text, tokens=len(text))
        for number, text in enumerate(texts)
    ]
    batch = Batch([Question(row, _messages(row))], items)
    units = batch.units(call.asked)
    found: dict[int, Outcome] = {}
    call.run(batch, units, lambda number, said: found.update(zip(units[number], said, strict=True)))
    return [found[number] for number in range(len(texts))]


def _outcomes(scores: Scores) -> list[Outcome]:
    from grpokit.scoring.values import Fault, Outcome

    ((values,),) = scores.rewards.values()
    faults = {
        each.sample: Fault(kind=each.kind, message=each.message, remedy=each.remedy)
        for each in scores.failures
    }
    return [Outcome(value=value, fault=faults.get(g)) for g, value in enumerate(values)]


def contract_problems(asker: Asker, row: Row) -> Iterator[str]:
    """What a reward does on the probes that no reward may do."""
    missing = asker.asked.missing(tuple(row))
    if missing:
        yield f"it asks for {', '.join(missing)}; the row has {', '.join(row)}"
        return
    probes = dict(PROBES)
    if "answer" in row:
        probes["the answer"] = str(row["answer"])
        probes["the answer, boxed"] = f"So it is \\boxed{{{row['answer']}}}."
    lost = 0
    for name, text in probes.items():
        first, seconds = asker.timed(row, text)
        yield from (
            f"the probe {name!r}: {problem}" for problem in outcome_problems(first, asker.bounds)
        )
        lost += first.fault is not None and first.fault.kind == "timeout"
        if lost == HANGS:
            yield "the other probes were left out, because it would not have answered them either"
            return
        if first.fault is not None:
            continue
        if seconds > SECONDS:
            yield f"the probe {name!r}: took {seconds:.1f} s; the limit is {SECONDS:g} s"
        elif asker.deterministic:
            again, _ = asker.timed(row, text)
            if again.value != first.value:
                yield f"the probe {name!r}: scored {first.value} first and {again.value} again"


def outcome_problems(outcome: Outcome, bounds: tuple[float, float] | None) -> Iterator[str]:
    """A fault, or a score outside of what the reward declares."""
    if outcome.fault is not None:
        yield f"{outcome.fault.message}; {outcome.fault.remedy}"
    elif bounds is not None and outcome.value is not None:
        low, high = bounds
        if not low <= outcome.value <= high:
            yield f"scored {outcome.value}, outside its declared range {low} to {high}"
