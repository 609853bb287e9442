"""Axis ``select``: which completions train. Rows keep the order of ``Rollout.rows``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from grpokit.spec.flow import Advantages, Rollout, Scores, Selection

__all__ = ["Metric", "drop_zero", "keep_all", "kept_rows", "top_k"]

Metric = Literal["shortest", "efficiency"]


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


def top_k(
    rollout: Rollout,
    scores: Scores,
    advantages: Advantages,
    *,
    keep: int,
    metric: Metric = "shortest",
) -> Selection:
    """The best ``keep`` of each group by length or by total a token (after GFPO, arXiv 2508.09726).

    The others stay in every denominator with weight 0, as in the paper's token mean. Advantages
    remain those of the whole group; the paper takes them over the kept ones, which is
    ``group-filter`` on the axis advantage. Completions without a score come last and train
    nothing. Degenerate: a group of at most ``keep`` is kept whole.
    """
    del advantages
    rows: list[tuple[int, int]] = []
    weights: list[float] = []
    for p, group in enumerate(rollout.completions):
        lengths = [len(completion.token_ids) for completion in group]
        kept = kept_rows(lengths, scores.total[p], keep=keep, metric=metric)
        rows += [(p, g) for g in range(len(group))]
        weights += [1.0 if g in kept else 0.0 for g in range(len(group))]
    return Selection(rows=tuple(rows), weights=tuple(weights), denominator=len(rows))


def kept_rows(
    lengths: Sequence[int],
    totals: Sequence[float | None],
    *,
    keep: int,
    metric: Metric = "shortest",
) -> frozenset[int]:
    """Indices of the ``keep`` best completions of one group.

    shortest: smallest L_i. efficiency: largest r_i / L_i; with totals below 0 it prefers long
    failures, and with totals of 0 and 1 it keeps only right answers wherever there are enough, so
    that nothing is left to compare. Of equals, the first wins.
    """

    def badness(g: int) -> tuple[bool, float]:
        total, length = totals[g], max(lengths[g], 1)
        if total is None:
            return True, 0.0
        return False, float(length) if metric == "shortest" else -total / length

    return frozenset(sorted(range(len(lengths)), key=badness)[:keep])
