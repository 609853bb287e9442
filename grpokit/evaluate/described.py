"""What ``summary.json`` says about one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpokit.evaluate.overlap import Overlap
    from grpokit.evaluate.records import Evaluation

__all__ = ["clean_accuracies", "described"]


def described(found: Evaluation) -> dict[str, Any]:
    """Every number of an evaluation, and its fingerprint."""
    return {
        "label": found.label,
        "items": len(found.counts),
        "samples": found.samples,
        "correct": found.right,
        "accuracy": found.accuracy,
        "interval": list(found.interval),
        "pass_at": {
            str(k): {"value": value, "interval": list(interval)}
            for k, (value, interval) in found.passes.items()
        },
        **_votes(found),
        "decides": found.decides,
        "threshold": found.threshold,
        "truncated": found.truncated,
        "accuracy_not_truncated": found.accuracy_not_truncated,
        "lenient": _lenient(found),
        "rewards": found.rewards(),
        "failed": found.failed,
        "abstained": found.abstained,
        "rates": found.rates,
        "calibration": found.calibration,
        "tokens_mean": fmean(item.tokens for item in found.items) if found.items else None,
        "tokens_right": found.lengths(correct=True),
        "tokens_wrong": found.lengths(correct=False),
        "repetition": found.repetition,
        "measured": asdict(found.measured),
        "seconds": round(found.seconds, 3),
        "fingerprint": dict(found.fingerprint),
    }


def _votes(found: Evaluation) -> dict[str, Any]:
    """maj@k; how many votes of all answers have no single winner, and how many a disputed answer."""
    return {
        "majority": {
            str(k): {"value": value, "interval": list(interval), "all_draws": exact}
            for k, (value, interval, exact) in found.majority.items()
        },
        "tied": sum(ballot.tied for ballot in found.ballots) if found.majority else None,
        "disputed": sum(bool(b.disputed) for b in found.ballots) if found.majority else None,
    }


def _lenient(found: Evaluation) -> dict[str, Any] | None:
    if found.lenient is None:
        return None
    accuracy, interval = found.accuracy_of(found.lenient)
    right = sum(found.lenient.values())
    return {"correct": right, "accuracy": accuracy, "interval": list(interval)}


def clean_accuracies(evaluations: Sequence[Evaluation], overlap: Overlap) -> dict[str, Any]:
    """The accuracy on the questions of which nothing is in the training data, by model."""
    found = {}
    for each in evaluations:
        counts = {key: count for key, count in each.counts.items() if key in overlap.clean}
        accuracy, interval = each.accuracy_of(counts)
        found[each.label] = {
            "items": len(counts),
            "accuracy": accuracy if counts else None,
            "interval": list(interval),
        }
    return found
