"""What rewards know from the policy: asked for, measured by the backend, handed over with a completion.

A reward runs in a process of its own and cannot call the model. Its spec ``needs`` a capability, and
then its parameters may name the facts of ``signature.MEASURED``. Between drawing and scoring the rewards
say what they want to know (:class:`Inquiry`), the model says it, and each completion goes to a reward
with its :class:`Facts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from grpokit.errors import PreflightError
from grpokit.registry.catalog import Entry
from grpokit.scoring.call import Batch
from grpokit.scoring.signature import MEASURED
from grpokit.scoring.values import Fault, Outcome
from grpokit.spec.contracts import Measures
from grpokit.spec.flow import Continuation, Measurement, Rollout, Wanted

__all__ = ["Asker", "Facts", "Inquiry", "Sharing", "facts_of", "needs_model", "no_model"]

Span = tuple[int, int]


def needs_model(entry: Entry) -> bool:
    """Whether this reward can only score what an open model says something about."""
    return not MEASURED.keys().isdisjoint(entry.spec.needs)


def no_model(entries: Sequence[Entry], place: str = "") -> PreflightError:
    """Such rewards were to score where there is no model."""
    names = [f"`{entry.id}`" for entry in entries if needs_model(entry)]
    several = len(names) > 1
    return PreflightError(
        f"the reward{'s' if several else ''} {', '.join(names)} need{'' if several else 's'} what the "
        "policy says about each completion, and no model is open here",
        place=place or "rewards",
        remedy="it is measured in `grpokit train`, `grpokit eval` and `grpokit plan --probe`; "
        "leave the reward out elsewhere",
    )


@dataclass(frozen=True, kw_only=True)
class Inquiry:
    """What the rewards want to know about the completions of a rollout.

    Attributes:
        wanted: all of it, as the model is asked.
        facts: reward -> names of the facts that it gets.
        spans: reward -> for each row, which of the row's continuations are its own.
        faults: reward -> rows for which it could not say what it wants.
    """

    wanted: Wanted
    facts: Mapping[str, tuple[str, ...]]
    spans: Mapping[str, Sequence[Span]]
    faults: Mapping[str, Mapping[int, Fault]]

    @classmethod
    def of(
        cls,
        facts: Mapping[str, tuple[str, ...]],
        asked: Mapping[str, Sequence[Outcome]],
        count: int,
    ) -> Inquiry:
        """From the facts that each reward names, and what those said that were asked for texts."""
        rows: list[list[Continuation]] = [[] for _ in range(count)]
        spans: dict[str, list[Span]] = {}
        faults: dict[str, dict[int, Fault]] = {}
        for name, outcomes in asked.items():
            faults[name] = {
                row: outcome.fault for row, outcome in enumerate(outcomes) if outcome.fault
            }
            spans[name] = []
            for row, outcome in zip(rows, outcomes, strict=True):
                spans[name].append((len(row), len(row) + len(outcome.continuations)))
                row.extend(outcome.continuations)
        named = {fact for each in facts.values() for fact in each}
        wanted = Wanted(
            logprobs="logprobs" in named,
            self_certainty=bool(named & {"self_certainty", "vocabulary_size"}),
            continuations=tuple(map(tuple, rows)) if any(rows) else (),
        )
        return cls(wanted=wanted, facts=facts, spans=spans, faults=faults)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was asked, and what the model said."""

    inquiry: Inquiry
    measured: Measurement

    def work(self, reward: str, batch: Batch) -> tuple[Batch, Mapping[int, Fault]]:
        """The batch as this reward gets it, and the rows for which it has failed already."""
        names = self.inquiry.facts[reward]
        faults = self.inquiry.faults.get(reward, {})
        if not names:
            return batch, faults
        items = [
            replace(item, facts={name: self._fact(name, reward, row) for name in names})
            for row, item in enumerate(batch.items)
        ]
        return replace(batch, items=items), faults

    def _fact(self, name: str, reward: str, row: int) -> Any:
        measured = self.measured
        if name == "vocabulary_size":
            return measured.vocabulary
        if name == "continuation_logprobs":
            first, end = self.inquiry.spans[reward][row] if reward in self.inquiry.spans else (0, 0)
            own = measured.continuations[row][first:end] if end > first else ()
            return [None if each is None else list(each) for each in own]
        table = measured.logprobs if name == "logprobs" else measured.self_certainty
        return None if table is None else list(table[row])


class Asker(Protocol):
    """What knows the rewards: :class:`grpokit.scoring.scorer.Scorer`."""

    @property
    def measures(self) -> bool: ...

    def inquire(
        self, rollout: Rollout, should_stop: Callable[[], None] | None = None
    ) -> Inquiry: ...


@runtime_checkable
class Sharing(Protocol):
    """A model whose rows several processes share: each finds the facts of those that it scores."""

    def facts(
        self, scorer: Asker, rollout: Rollout, should_stop: Callable[[], None] | None = None
    ) -> Facts | None: ...


def facts_of(
    scorer: Asker, model: object, rollout: Rollout, should_stop: Callable[[], None] | None = None
) -> Facts | None:
    """What the rewards want to know; None where they want nothing.

    Raises:
        PreflightError: they do, and this model cannot tell.
    """
    if not scorer.measures:
        return None
    if isinstance(model, Sharing):
        return model.facts(scorer, rollout, should_stop)
    inquiry = scorer.inquire(rollout, should_stop)
    return Facts(
        inquiry=inquiry, measured=measuring(model).measure(rollout, inquiry.wanted, should_stop)
    )


def measuring(model: object) -> Measures:
    """The model as one that can tell."""
    if isinstance(model, Measures):
        return model
    raise PreflightError(
        "rewards need what the policy says about each completion, and this backend does not tell",
        place="backend.use",
        remedy="take the backend `hf`, or leave those rewards out",
    )
