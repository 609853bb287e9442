"""Axis ``select``: which completions train. Rows keep the order of ``Rollout.rows``."""

from __future__ import annotations

from grpokit.spec.flow import Advantages, Rollout, Scores, Selection

__all__ = ["drop_zero", "keep_all"]


def keep_all(rollout: Rollout, scores: Scores, advantages: Advantages) -> Selection:
    """Every completion, also those that teach nothing: they count in the denominators (GRPO).

    Completions without a score are among them; their advantage is 0.
    """
    del scores, advantages
    rows = tuple(rollout.rows())
    return Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows))


def drop_zero(rollout: Rollout, scores: Scores, advantages: Advantages) -> Selection:
    """Only completions with an advantage other than 0 (OpenPipe's Temporal Clue run).

    Those left out count in no denominator, so a step with many dead groups keeps its scale.
    Degenerate: if every group is dead, nothing is selected and nothing trains.
    """
    del scores
    advantages_PG: list[list[float]] = advantages.advantages_PG.tolist()
    rows = tuple((p, g) for p, g in rollout.rows() if advantages_PG[p][g] != 0)
    return Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows))
