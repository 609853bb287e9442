"""Scores of probes, with those of the right and the wrong answer beside them, from real workers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grpokit.probes.expand import Case
from grpokit.probes.library import Way
from grpokit.scoring.facts import facts_of
from grpokit.scoring.scorer import Scorer
from grpokit.spec.contracts import ShouldStop
from grpokit.spec.flow import (
    Completion,
    Measurement,
    Prompt,
    Rollout,
    Sampling,
    ScoreFailure,
    Scores,
    Wanted,
)

__all__ = [
    "MADE_UP",
    "TOTAL",
    "Bench",
    "Cell",
    "Measured",
    "OutOfTimeError",
    "rollout_of",
    "tokens_of",
]

TOTAL = "weighted sum"
"""The subject that trains; no reward can have this name."""
CHARACTERS = 4
"""Characters of a token, about: rewards that count tokens shall see a number."""
LEAST = 1e-9
LOGPROB, CERTAINTY, VOCABULARY = -0.5, 5.0, 32_000


class OutOfTimeError(Exception):
    """The check's seconds, or those of one probe, are over."""


@dataclass(frozen=True)
class Cell:
    """What one completion got: subject -> score, and reward -> failure."""

    values: Mapping[str, float | None]
    faults: Mapping[str, ScoreFailure] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A completion's scores between those of the right and the wrong answer of its row."""

    text: str
    cell: Cell
    right: Cell
    wrong: Cell

    def margin(self, subject: str) -> float | None:
        """How much more the right answer earns than the wrong one."""
        high, low = self.right.values[subject], self.wrong.values[subject]
        return None if high is None or low is None else high - low

    def share(self, subject: str) -> float | None:
        """Its place, (s - R-) / (R+ - R-); None without a score, or where right and wrong earn the same."""
        score, low = self.cell.values[subject], self.wrong.values[subject]
        margin = self.margin(subject)
        if score is None or low is None or margin is None or margin <= LEAST:
            return None
        return (score - low) / margin


class MadeUp:
    """A policy that is equally sure of every token: what rewards hear where no model is open.

    So no completion is told from another by what the policy says of it.
    """

    def measure(
        self, rollout: Rollout, wanted: Wanted, should_stop: ShouldStop | None = None
    ) -> Measurement:
        del should_stop
        counts = [len(c.token_ids) for group in rollout.completions for c in group]
        return Measurement(
            logprobs=tuple((LOGPROB,) * count for count in counts),
            self_certainty=tuple((CERTAINTY,) * count for count in counts),
            continuations=tuple(
                tuple((LOGPROB,) * tokens_of(each.target) for each in row)
                for row in wanted.continuations
            ),
            vocabulary=VOCABULARY,
        )


MADE_UP = MadeUp()


class Bench:
    """A scorer, a way to write answers, and a clock.

    ``together`` is for rewards of the form ``group``: each completion stands in a group with the
    right and the wrong answer of its row, because its score depends on its neighbours. ``apart``:
    every reward judges one completion a call, so that one alone gets what it gets among others.
    """

    def __init__(self, scorer: Scorer, *, seconds: float | None = None) -> None:
        self.scorer = scorer
        self.end = None if seconds is None else time.monotonic() + seconds
        forms = {asked.form for asked in scorer.asked().values()}
        self.together = "group" in forms
        self.apart = forms == {"row"}
        self.completions = 0

    def measure(
        self,
        cases: Sequence[Case],
        way: Way,
        texts: Sequence[Sequence[str]],
        *,
        backwards: bool = False,
    ) -> list[list[Measured]]:
        """Scores the texts of each case; ``backwards`` asks for the same in reverse order.

        Raises:
            OutOfTimeError: the check's time is over.
        """
        questions: list[Prompt] = []
        answers: list[list[str]] = []
        for case, own in zip(cases, texts, strict=True):
            pair = [way.write(case.gold), way.write(case.wrong)]
            groups = [[text] for text in own] if self.together else [list(own)]
            questions += [case.prompt] * len(groups)
            answers += [[*pair, *group] for group in groups]
        cells = iter(self.ask(questions, answers, backwards=backwards))
        found: list[list[Measured]] = []
        for own in texts:
            measured: list[Measured] = []
            for group in [[text] for text in own] if self.together else [list(own)]:
                right, wrong, *rest = next(cells)
                measured += [
                    Measured(text, cell, right, wrong)
                    for text, cell in zip(group, rest, strict=True)
                ]
            found.append(measured)
        return found

    def ask(
        self, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]], *, backwards: bool = False
    ) -> list[list[Cell]]:
        """Scores texts of prompts, as one step of training would."""
        if backwards:
            turned = self.ask(prompts[::-1], [group[::-1] for group in texts[::-1]])
            return [group[::-1] for group in turned[::-1]]
        # Two questions may come from one row; failures name their place in the rollout.
        found = self._score(rollout_of(prompts, texts))
        faults: dict[tuple[int, int], dict[str, ScoreFailure]] = {}
        for failure in found.failures:
            faults.setdefault((failure.prompt_index, failure.sample), {})[failure.reward] = failure
        return [
            [
                Cell(
                    {TOTAL: found.total[p][g]}
                    | {name: table[p][g] for name, table in found.rewards.items()},
                    faults.get((p, g), {}),
                )
                for g in range(len(group))
            ]
            for p, group in enumerate(texts)
        ]

    def time(
        self, case: Case, way: Way, text: str, within: float, known: Measured
    ) -> tuple[Measured | None, float]:
        """One completion, and the seconds it took; None if it took longer than ``within``.

        It is alone where that changes no score; ``known`` has the right and the wrong answer then.
        """
        self.ask([case.prompt], [["warm"]])  # a worker that was lost starts again here
        pair = [] if self.apart else [way.write(case.gold), way.write(case.wrong)]
        began = time.monotonic()
        end, self.end = self.end, min(self.end or 1e18, began + within)
        try:
            cells = self.ask([case.prompt], [[*pair, text]])[0]
        except OutOfTimeError:
            if end is not None and time.monotonic() >= end:
                raise
            return None, time.monotonic() - began
        finally:
            self.end = end
        right, wrong = cells[:-1] or (known.right, known.wrong)
        return Measured(text, cells[-1], right, wrong), time.monotonic() - began

    def _score(self, rollout: Rollout) -> Scores:
        facts = facts_of(self.scorer, MADE_UP, rollout, self._poll)
        found = self.scorer.score(rollout, self._poll, facts)
        self.completions += len(rollout.rows())
        return found

    def _poll(self) -> None:
        if self.end is not None and time.monotonic() > self.end:
            raise OutOfTimeError


def tokens_of(text: str) -> int:
    """How many tokens the text is said to have."""
    return len(text) // CHARACTERS + 1


def rollout_of(prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> Rollout:
    return Rollout(
        prompts=tuple(prompts),
        prompt_ids=((),) * len(prompts),
        completions=tuple(
            tuple(
                Completion(token_ids=(0,) * tokens_of(text), text=text, finish="stop")
                for text in group
            )
            for group in texts
        ),
        sampling=Sampling(group=max(map(len, texts), default=1), max_tokens=1_000_000),
    )
