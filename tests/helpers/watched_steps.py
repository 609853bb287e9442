"""Steps of a run as its observer is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grpokit.spec.flow import Completion, Prompt, Rollout, Sampling, Scores, StepRecord

__all__ = ["ROW", "drawn", "record"]

ROW = Mapping[str, Any]


def record(row: ROW) -> StepRecord:
    metrics = {key: value for key, value in row.items() if key not in ("step", "seconds")}
    return StepRecord(step=row["step"], metrics=metrics, seconds={"total": 1.0})


def drawn(*texts: str, totals: Sequence[float] = ()) -> tuple[Rollout, Scores]:
    """One group."""
    completions = tuple(
        Completion(token_ids=(1,) * len(text), text=text, finish="stop") for text in texts
    )
    prompt = Prompt(id="p", index=0, row={}, messages=({"role": "user", "content": "?"},))
    total = (tuple(totals or (0.5,) * len(texts)),)
    rollout = Rollout(
        prompts=(prompt,),
        prompt_ids=((1,),),
        completions=(completions,),
        sampling=Sampling(group=len(texts), max_tokens=9, step=1),
    )
    scores = Scores(rewards={}, components={}, total=total, weights={}, failures=())
    return rollout, scores
