"""Rounds of a step put together, and groups picked out of them. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from grpokit.spec.flow import Rollout, Scores

__all__ = ["merge_rollouts", "merge_scores", "pick_rollout", "pick_scores"]

Table = Sequence[Sequence[float | None]]


def merge_rollouts(first: Rollout, second: Rollout) -> Rollout:
    """The groups of both, which one policy drew in one step."""
    return replace(
        first,
        prompts=first.prompts + second.prompts,
        prompt_ids=first.prompt_ids + second.prompt_ids,
        completions=first.completions + second.completions,
    )


def merge_scores(first: Scores, second: Scores) -> Scores:
    """Tables one below the other. A component that one round did not name is None there."""
    groups, size = len(first.total), len(first.total[0]) if first.total else 0
    failures = tuple(
        replace(
            failure, prompt_index=failure.prompt_index + groups, row=failure.row + groups * size
        )
        for failure in second.failures
    )
    shapes = (first.total, second.total)
    return Scores(
        rewards=_stack(first.rewards, second.rewards, shapes),
        components=_stack(first.components, second.components, shapes),
        total=(*first.total, *second.total),
        failures=first.failures + failures,
        seconds={
            name: first.seconds.get(name, 0.0) + second.seconds.get(name, 0.0)
            for name in {**first.seconds, **second.seconds}
        },
        weights=first.weights,
    )


def pick_rollout(rollout: Rollout, keep: Sequence[int]) -> Rollout:
    """The groups at these positions, in this order."""
    return replace(
        rollout,
        prompts=tuple(rollout.prompts[p] for p in keep),
        prompt_ids=tuple(rollout.prompt_ids[p] for p in keep),
        completions=tuple(rollout.completions[p] for p in keep),
    )


def pick_scores(scores: Scores, keep: Sequence[int]) -> Scores:
    """The same groups of the scores. Failures stay with the whole."""

    def pick(table: Table) -> Table:
        return tuple(table[p] for p in keep)

    return replace(
        scores,
        rewards=_each(scores.rewards, pick),
        components=_each(scores.components, pick),
        total=pick(scores.total),
        failures=(),
    )


def _each(tables: Mapping[str, Table], change: Callable[[Table], Table]) -> dict[str, Table]:
    return {name: change(table) for name, table in tables.items()}


def _stack(
    first: Mapping[str, Table], second: Mapping[str, Table], shapes: tuple[Table, Table]
) -> dict[str, Table]:
    return {
        name: (*first.get(name, _empty(shapes[0])), *second.get(name, _empty(shapes[1])))
        for name in _union(first, second)
    }


def _empty(like: Table) -> Table:
    return tuple(tuple(None for _ in group) for group in like)


def _union(*names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for group in names for name in group))
