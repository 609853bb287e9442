"""A completion of the moment: which one is shown, and how a log tells it in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpokit.cli import render
from grpokit.spec.flow import Rollout, Scores

__all__ = ["Sample", "best_sample", "sample_line"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A completion to look at, with its question and what it earned."""

    step: int
    question: str
    answer: str
    scores: Mapping[str, float | None]
    total: float | None
    advantage: float | None = None
    tokens: int = 0
    truncated: bool = False
    of: int = 1


def best_sample(
    step: int,
    rollout: Rollout,
    scores: Scores,
    advantages: Mapping[int, Sequence[float]] | None = None,
) -> Sample:
    """The best-scored completion of the step's first prompt."""
    totals = scores.total[0]
    best = _best(totals)
    completion = rollout.completions[0][best]
    given = (advantages or {}).get(0)
    return Sample(
        step=step,
        question=rollout.prompts[0].messages[-1]["content"],
        answer=completion.text,
        scores={name: values[0][best] for name, values in scores.rewards.items()},
        total=totals[best],
        advantage=given[best] if given is not None else None,
        tokens=len(completion.token_ids),
        truncated=completion.finish == "length",
        of=len(totals),
    )


def _best(totals: Sequence[float | None]) -> int:
    """The place of the highest total, the first one of several; 0 where there is none."""
    known = [(value, -place) for place, value in enumerate(totals) if value is not None]
    return -max(known)[1] if known else 0


def sample_line(rollout: Rollout, scores: Scores) -> str:
    """The best-scored completion of the step's first prompt, with its question and score."""
    question = rollout.prompts[0].messages[-1]["content"].strip().splitlines()[-1:] or [""]
    best = _best(scores.total[0])
    value = scores.total[0][best]
    total = "no score" if value is None else f"{value:.2f}"
    answer = render.safe(rollout.completions[0][best].text.strip(), limit=240, one_line=True)
    return f"{render.safe(question[0], limit=120, one_line=True)} -> {answer} [{total}]"
