"""Steps as parts that remember see them, and the test that every one of them must pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from grpokit.spec.flow import Outcome
from tables import rollout_of, scores_of

__all__ = ["assert_goes_on", "outcome"]


def outcome(
    step: int = 1, total: Sequence[Sequence[float | None]] = ((1.0,),), **metrics: float
) -> Outcome:
    """A finished step with these totals and metrics."""
    return Outcome(
        step=step,
        rollout=rollout_of([[1] * len(total[0])] * len(total)),
        scores=scores_of(total),
        kept=(0,),
        metrics=metrics,
    )


def assert_goes_on(
    make: Callable[[], Any], outcomes: Sequence[Outcome], probe: Callable[[Any], Any]
) -> list[Any]:
    """A part whose state went through JSON after any step answers as the one that was not stopped."""
    whole = make()
    answers = [probe(whole)]
    for one in outcomes:
        whole.observe(one)
        answers.append(probe(whole))
    for stop in range(len(outcomes) + 1):
        first = make()
        for one in outcomes[:stop]:
            first.observe(one)
        second = make()
        second.load_state(json.loads(json.dumps(first.state())))
        rest = [probe(second)]
        for one in outcomes[stop:]:
            second.observe(one)
            rest.append(probe(second))
        assert rest == answers[stop:]
        assert second.state() == whole.state()
    return answers
