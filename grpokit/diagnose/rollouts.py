"""What saved rollouts add to a step's numbers, and the completions that show a finding."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpokit.scoring.rank import spearman
from grpokit.scoring.repeats import repetition

__all__ = ["SHOWN", "Sample", "measure", "samples"]

SHOWN = 3
"""Completions that are shown with a finding."""

LOOKED_AT = 16
"""Completions of a step whose repetition is measured, evenly spread; it takes the longest."""
BEST = 4
"""Completions with the highest reward from which their ends say something."""

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
    where no group has both long and short, and good and bad. For the others see below.
    """
    texts = [[one["text"] for one in group["completions"]] for group in groups]
    flat = [text for each in texts for text in each]
    if not flat:
        return {}
    looked = flat[:: max(len(flat) // LOOKED_AT, 1)][:LOOKED_AT]
    found = {
        "duplicates": sum(len(each) - len(set(each)) for each in texts) / len(flat),
        "repetition": statistics.fmean(map(repetition, looked)),
    }
    pairs = ([one for one in group["completions"] if one["total"] is not None] for group in groups)
    known = [
        rank
        for each in pairs
        if (rank := spearman(Counter((c["tokens"], c["total"]) for c in each))) is not None
    ]
    if known:
        found["length_reward"] = statistics.fmean(known)
    further = {"best_cut": _best_cut(groups), "one_answer": _one_answer(groups)}
    return found | {name: value for name, value in further.items() if value is not None}


def _best_cut(groups: Groups) -> float | None:
    """The share of the completions with the step's highest total that ran into the limit of tokens.

    None where fewer than BEST have it, or where every total is the same.
    """
    known = [one for group in groups for one in group["completions"] if one["total"] is not None]
    top: float = max((one["total"] for one in known), default=0.0)
    best = [one for one in known if one["total"] == top]
    if len(best) in {*range(BEST), len(known)}:
        return None
    cut: int = sum(one["finish"] == "length" for one in best)
    return cut / len(best)


def _one_answer(groups: Groups) -> float | None:
    """How much more one completion is given than its prompts' answers have in common: 1 is always.

    With t the share of the commonest text and g that of the commonest right answer it is
    (t - g) / (1 - g), at least 0. A prompt without an answer counts as one of its own. None where
    all prompts have the same answer: then one completion for all may be right.
    """
    answers: Counter[object] = Counter()
    texts: Counter[str] = Counter()
    for group in groups:
        prompt = group["prompt"]
        answer = prompt.get("answer")
        answers[("row", prompt["index"]) if answer is None else answer] += len(group["completions"])
        texts.update(one["text"].strip() for one in group["completions"])
    if len(answers) < 2:
        return None
    total = texts.total()
    text, answer_share = (each.most_common(1)[0][1] / total for each in (texts, answers))
    return max((text - answer_share) / (1 - answer_share), 0.0)


def samples(name: str, groups: Groups) -> list[Sample]:
    """Up to three completions of one step that show the finding of this name, of different groups if possible."""
    listed = [_ordered(name, group) for group in groups]
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
    elif name == "missing-end":
        rows = sorted((one for one in rows if one["finish"] == "length"), key=_by_reward)
    elif name == "repetition":
        rows.sort(key=lambda one: -repetition(one["text"]))
    elif name == "length-hacking":
        rows.sort(key=lambda one: -one["tokens"])
    elif name in ("format-farming", "over-fitting"):
        rows.sort(key=_by_reward)
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


def _by_reward(one: Mapping[str, Any]) -> float:
    """The best paid first."""
    return -(one["total"] or 0.0)
