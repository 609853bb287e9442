"""Rollouts and scores written down as tables, for tests of parts that look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpokit.spec.flow import Completion, Prompt, Rollout, Sampling, Scores

__all__ = ["rollout_of", "scores_of"]

Table = Sequence[Sequence[float | None]]


def rollout_of(
    lengths: Sequence[Sequence[int]],
    *,
    rows: Sequence[int] | None = None,
    max_tokens: int = 100,
    step: int = 1,
    seed: int = 0,
    columns: Sequence[dict[str, Any]] | None = None,
) -> Rollout:
    """Completions of these lengths; one of ``max_tokens`` is truncated. ``rows`` are data set rows."""
    rows = rows or range(len(lengths))
    return Rollout(
        prompts=tuple(
            Prompt(id=f"p{row}", index=row, row=columns[place] if columns else {}, messages=())
            for place, row in enumerate(rows)
        ),
        prompt_ids=tuple((row,) for row in rows),
        completions=tuple(
            tuple(
                Completion(
                    token_ids=(1,) * length,
                    text="x",
                    finish="length" if length >= max_tokens else "stop",
                )
                for length in group
            )
            for group in lengths
        ),
        sampling=Sampling(group=len(lengths[0]), max_tokens=max_tokens, step=step, seed=seed),
    )


def scores_of(total: Table, **rewards: Table) -> Scores:
    return Scores(rewards=rewards or {"r": total}, components={}, total=total)
