"""All rewards of a recipe: calls them on a rollout, weights them, and says what went wrong.

The total of a completion is the weighted sum of the scores it got. A reward that abstains (None) is
left out of the sum; the total is None if all abstained. A reward that *failed* and has a weight
makes the total None as well: leaving it out would be the same as an invented 0.0. Weight 0 measures
and never touches the total.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypedDict

from grpokit.registry.catalog import Catalog, Entry
from grpokit.registry.resolve import create
from grpokit.scoring.call import (
    Ask,
    Batch,
    ContinuationsCall,
    Item,
    Question,
    Reading,
    RewardCall,
    ahead_of,
    reading_of,
)
from grpokit.scoring.early import Early, items_of
from grpokit.scoring.facts import Facts, Inquiry, needs_model, no_model
from grpokit.scoring.lane import Lane, Ledger, drive
from grpokit.scoring.memory import MEMORY
from grpokit.scoring.refusals import missing_problem, unsendable
from grpokit.scoring.signature import Asked
from grpokit.scoring.tables import Tables
from grpokit.scoring.values import Fault, Outcome
from grpokit.scoring.wire import UnsendableError
from grpokit.spec.contracts import Problem
from grpokit.spec.flow import Message, Prompt, Rollout, Scores
from grpokit.spec.recipe import RewardSection, ScoringSection

__all__ = ["RewardSetup", "Scorer", "ScoringOptions", "Share", "scoring_options", "setups"]

NO_FAULTS: Mapping[int, Fault] = {}
Share = Callable[[Callable[[Rollout], Scores], Rollout], Scores]
"""Applies a function that scores to a rollout: here, or each of several processes to a part of it."""


@dataclass(frozen=True, kw_only=True)
class RewardSetup:
    """One reward as the recipe uses it. ``name`` is its name in metrics."""

    name: str
    entry: Entry
    settings: Mapping[str, Any]
    weight: float = 1.0


def setups(catalog: Catalog, sections: Sequence[RewardSection]) -> tuple[RewardSetup, ...]:
    """The ``rewards:`` of a recipe, found in the catalog."""
    found = [(section, catalog.find("reward", section.use)) for section in sections]
    return tuple(
        RewardSetup(
            name=section.name or entry.spec.name,
            entry=entry,
            settings=section.with_,
            weight=section.weight,
        )
        for section, entry in found
    )


class ScoringOptions(TypedDict):
    """What a recipe says about calling rewards, as :class:`Scorer` takes it."""

    timeout: float
    isolate: bool
    memory: float | None


def scoring_options(section: ScoringSection) -> ScoringOptions:
    """The options of a recipe's ``scoring``."""
    return ScoringOptions(timeout=section.timeout, isolate=section.isolate, memory=section.memory)


class Scorer:
    """Calls rewards. A context manager: entering starts the workers, leaving ends them.

    ``timeout`` is seconds a completion, ``memory`` GiB a worker (None: no limit).
    ``isolate=False`` calls the rewards in this process: no deadline, no protection, prints are seen.
    """

    def __init__(
        self,
        setups: Sequence[RewardSetup],
        *,
        timeout: float = 10.0,
        isolate: bool = True,
        memory: float | None = MEMORY,
    ) -> None:
        self.setups = tuple(setups)
        self.timeout = timeout
        self.isolate = isolate
        self.memory = memory
        self._selector: selectors.BaseSelector | None = None
        self._lanes: list[Lane] = []
        self._calls: list[RewardCall] = []
        self._ahead: list[ContinuationsCall | None] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, should_stop: Callable[[], None] | None = None) -> None:
        """Builds every reward, each in its worker. ``should_stop`` is that of :meth:`score`.

        Raises:
            ComponentError: one cannot be imported or built.
        """
        if self._lanes or self._calls:
            return
        if not self.isolate:
            self._calls = [
                RewardCall(create(s.entry, s.settings), s.entry.spec.needs) for s in self.setups
            ]
            self._ahead = [ahead_of(s.entry, s.settings) for s in self.setups]
            return
        self._selector = selectors.DefaultSelector()
        self._lanes = [
            Lane(self._selector, setup.entry, setup.settings, self.timeout, self.memory)
            for setup in self.setups
        ]
        try:
            for lane in self._lanes:
                lane.start()
            drive(self._lanes, self._selector, should_stop)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends all workers. The scorer can be started again."""
        for lane in self._lanes:  # all end at the same time
            lane.finish()
        for lane in self._lanes:
            lane.close()
        for call in self._calls:
            call.close()
        if self._selector is not None:
            self._selector.close()
        self._lanes, self._calls, self._ahead, self._selector = [], [], [], None

    def asked(self) -> dict[str, Asked]:
        """Reward name -> what it asks for."""
        self.start()
        found = [call.asked for call in self._calls] or [
            lane.asked for lane in self._lanes if lane.asked is not None
        ]
        return {setup.name: asked for setup, asked in zip(self.setups, found, strict=True)}

    def problems(self, columns: Sequence[str]) -> tuple[Problem, ...]:
        """Columns that rewards ask for and a data set with ``columns`` lacks."""
        found = []
        for position, (setup, asked) in enumerate(
            zip(self.setups, self.asked().values(), strict=True)
        ):
            missing = [name for name in setup.entry.spec.columns if name not in columns]  # type: ignore[attr-defined]
            missing += [name for name in asked.missing(columns) if name not in missing]
            if missing:
                found.append(missing_problem(setup, missing, columns, f"rewards.{position}"))
        return tuple(found)

    @property
    def measures(self) -> bool:
        """Whether a reward needs to know what the policy says about the completions."""
        return any(needs_model(setup.entry) for setup in self.setups)

    def inquire(self, rollout: Rollout, should_stop: Callable[[], None] | None = None) -> Inquiry:
        """What the rewards want to know about the completions before they score them.

        The texts whose log-probs a reward wants come from its worker; a completion for which that
        fails has no score of this reward.
        """
        self.start()
        batch = _batch(rollout)
        asked = self.asked()
        found: dict[str, list[Outcome]] = {}
        if self.isolate:
            indices = [prompt.index for prompt in rollout.prompts]
            lanes = [lane for lane in self._lanes if lane.ahead is not None]
            self._drive(
                lanes, [(batch, NO_FAULTS)] * len(lanes), indices, should_stop, ask="continuations"
            )
            ledgers = {id(lane): _complete(lane) for lane in lanes}
            for setup, lane in zip(self.setups, self._lanes, strict=True):
                if id(lane) in ledgers:
                    found[setup.name] = ledgers[id(lane)]
        else:
            for setup, call in zip(self.setups, self._ahead, strict=True):
                if call is not None:
                    found[setup.name] = _in_process(call, Ledger(batch, call.asked), should_stop)[0]
        return Inquiry.of(
            {name: each.facts() for name, each in asked.items()}, found, len(batch.items)
        )

    def early(self, prompts: Sequence[Prompt], group: int) -> Early | None:
        """Begins to score groups of ``group`` completions before all are drawn.

        None where rewards are called in this process, or want to know what the policy says.
        """
        if not self.isolate or self.measures:
            return None
        self.start()
        assert self._selector is not None
        questions = [Question(prompt.row, prompt.messages) for prompt in prompts]
        return Early(self._lanes, self._selector, questions, group)

    def score(
        self,
        rollout: Rollout,
        should_stop: Callable[[], None] | None = None,
        facts: Facts | None = None,
        early: Early | None = None,
    ) -> Scores:
        """Scores every completion of a rollout.

        ``should_stop`` is called while workers are waited for; what it raises ends them. ``facts`` are
        what the policy says about the completions, where rewards want to know it; ``early`` has begun
        with some of them.

        Raises:
            PreflightError: a reward needs facts and there are none.
        """
        indices = [prompt.index for prompt in rollout.prompts]
        return self._score(_batch(rollout), indices, should_stop, facts, early)

    def score_texts(
        self,
        rows: Sequence[Mapping[str, Any]],
        texts: Sequence[Sequence[str]],
        *,
        messages: Sequence[Sequence[Message]] | None = None,
        indices: Sequence[int] | None = None,
        should_stop: Callable[[], None] | None = None,
    ) -> Scores:
        """Scores given texts, some for each row, as finished completions of unknown token count."""
        talk: Sequence[Sequence[Any]] = messages if messages is not None else [()] * len(rows)
        questions = [Question(row, said) for row, said in zip(rows, talk, strict=True)]
        pairs = zip(rows, texts, strict=True)
        items = [
            Item(p, g, text) for p, (_, group) in enumerate(pairs) for g, text in enumerate(group)
        ]
        numbers = list(indices) if indices is not None else list(range(len(rows)))
        return self._score(Batch(questions, items), numbers, should_stop)

    def read(
        self,
        kind: Reading,
        reward: str,
        texts: Sequence[str],
        should_stop: Callable[[], None] | None = None,
    ) -> list[Outcome]:
        """The answer (a note) or the confidence (a value) that a reward reads in each text, in its worker."""
        self.start()
        position, setup = next((n, s) for n, s in enumerate(self.setups) if s.name == reward)
        batch = Batch([Question({})], [Item(0, g, text) for g, text in enumerate(texts)])
        if self._selector is None:
            call = reading_of(setup.entry, setup.settings, kind)
            return _in_process(call, Ledger(batch, call.asked), should_stop)[0]
        lane = self._lanes[position]
        self._drive([lane], [(batch, NO_FAULTS)], [0], should_stop, ask=kind)
        return _complete(lane)

    def explain(
        self, row: Mapping[str, Any], text: str, messages: Sequence[Message] = ()
    ) -> dict[str, Outcome]:
        """What each reward says about one text, with components, note and failure."""
        talk: Sequence[Any] = messages
        batch = Batch([Question(row, talk)], [Item(0, 0, text)])
        results = self._outcomes(batch, [0], None)
        return {
            setup.name: outcomes[0]
            for setup, (outcomes, _) in zip(self.setups, results, strict=True)
        }

    def _score(
        self,
        batch: Batch,
        indices: Sequence[int],
        should_stop: Callable[[], None] | None,
        facts: Facts | None = None,
        early: Early | None = None,
    ) -> Scores:
        results = self._outcomes(batch, indices, should_stop, facts, early)
        tables = Tables(batch, indices)
        for setup, (outcomes, _) in zip(self.setups, results, strict=True):
            tables.add(setup, outcomes)
        return Scores(
            rewards=tables.rewards,
            components=tables.components,
            total=tables.total,
            failures=tuple(tables.failures),
            seconds={
                setup.name: seconds
                for setup, (_, seconds) in zip(self.setups, results, strict=True)
            },
            weights={setup.name: setup.weight for setup in self.setups},
        )

    def _outcomes(
        self,
        batch: Batch,
        indices: Sequence[int],
        should_stop: Callable[[], None] | None,
        facts: Facts | None = None,
        early: Early | None = None,
    ) -> list[tuple[list[Outcome], float]]:
        """What each reward said, and its seconds."""
        if facts is None and self.measures:
            raise no_model([setup.entry for setup in self.setups])
        self.start()
        work = [
            (batch, NO_FAULTS) if facts is None else facts.work(s.name, batch) for s in self.setups
        ]
        if self.isolate:
            self._drive(self._lanes, work, indices, should_stop, early=early)
            return [(_complete(lane), lane.seconds) for lane in self._lanes]
        return [
            _in_process(call, Ledger(own, call.asked, faults), should_stop)
            for call, (own, faults) in zip(self._calls, work, strict=True)
        ]

    def _drive(
        self,
        lanes: Sequence[Lane],
        work: Sequence[tuple[Batch, Mapping[int, Fault]]],
        indices: Sequence[int],
        should_stop: Callable[[], None] | None,
        *,
        ask: Ask = "score",
        early: Early | None = None,
    ) -> None:
        assert self._selector is not None
        try:
            for lane, (batch, faults) in zip(lanes, work, strict=True):
                if early is None or not early.goes_on(lane, batch):
                    lane.begin(batch, faults, ask=ask)
            drive(self._lanes, self._selector, should_stop)
        except UnsendableError as error:
            for lane in self._lanes:
                lane.abandon()
            raise unsendable(work[0][0], indices, error) from error


def _batch(rollout: Rollout) -> Batch:
    return Batch(
        questions=[Question(prompt.row, prompt.messages) for prompt in rollout.prompts],
        items=[item for p, group in enumerate(rollout.completions) for item in items_of(p, group)],
    )


def _in_process(
    call: RewardCall, ledger: Ledger, should_stop: Callable[[], None] | None
) -> tuple[list[Outcome], float]:
    began = time.monotonic()
    units: list[list[int]] = []

    def book(number: int, found: list[Outcome]) -> None:
        ledger.answer(units[number], found)

    while ledger.pending:
        if should_stop is not None:
            should_stop()
        units = list(ledger.pending) if call.asked.is_async else [ledger.pending[0]]
        for _ in units:
            ledger.pending.popleft()
        call.run(ledger.batch, units, book)
    return _all(ledger), time.monotonic() - began


def _complete(lane: Lane) -> list[Outcome]:
    assert lane.ledger is not None
    return _all(lane.ledger)


def _all(ledger: Ledger) -> list[Outcome]:
    outcomes = [outcome for outcome in ledger.outcomes if outcome is not None]
    assert len(outcomes) == len(ledger.outcomes)
    return outcomes
