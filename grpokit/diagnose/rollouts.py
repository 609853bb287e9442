"""What saved rollouts add to a step's numbers, and the completions that show a finding."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpokit.diagnose.diagnosis import Finding
from grpokit.scoring.rank import spearman

__all__ = ["SHOWN", "Sample", "measure", "samples"]

SHOWN = 3
"""Completions that are shown with a finding."""

Groups = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One completion: hostile text, to be escaped before it is shown."""

    step: int
    index: int
    sample: int
    total: float | None
    tokens: int
    text: str


def measure(groups: Groups) -> dict[str, float]:
    """Numbers of one step that are not in ``metrics.jsonl``; ``groups`` are its saved groups.

    ``duplicates`` is the share of completions that repeat an earlier one of their group.
    ``length_reward`` is the mean over groups of the rank correlation of tokens and total; absent
    where no group has both long and short, and good and bad.
    """
    texts = [[one["text"] for one in group["completions"]] for group in groups]
    count = sum(map(len, texts))
    if not count:
        return {}
    found = {"duplicates": sum(len(each) - len(set(each)) for each in texts) / count}
    pairs = ([one for one in group["completions"] if one["total"] is not None] for group in groups)
    known = [
        rank
        for each in pairs
        if (rank := spearman(Counter((c["tokens"], c["total"]) for c in each))) is not None
    ]
    if known:
        found["length_reward"] = statistics.fmean(known)
    return found


def samples(finding: Finding, groups: Groups) -> list[Sample]:
    """Up to three completions of one step that show the finding, of different groups if possible."""
    listed = [_ordered(finding.name, group) for group in groups]
    turns = max(map(len, listed), default=0)
    mixed = [each[turn] for turn in range(turns) for each in listed if turn < len(each)]
    return mixed[:SHOWN]


def _ordered(name: str, group: Mapping[str, Any]) -> list[Sample]:
    """The group's completions that show the finding, the clearest first."""
    rows = list(group["completions"])
    if name == "truncation":
        rows = [one for one in rows if one["finish"] == "length"]
    elif name == "reward-failures":
        rows = [one for one in rows if one.get("errors")]
    elif name == "abstentions":
        rows = [one for one in rows if one["total"] is None]
    elif name == "duplicates":
        texts = [one["text"] for one in rows]
        rows = [one for one in rows if texts.count(one["text"]) > 1]
    elif name == "length-hacking":
        rows.sort(key=lambda one: -one["tokens"])
    elif name in ("format-farming", "over-fitting"):
        rows.sort(key=lambda one: -(one["total"] or 0.0))
    return [
        Sample(
            step=group["step"],
            index=group["prompt"]["index"],
            sample=one["sample"],
            total=one["total"],
            tokens=one["tokens"],
            text=one["text"],
        )
        for one in rows
    ]
