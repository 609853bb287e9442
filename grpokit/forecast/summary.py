"""The numbers of a probe, as plain data: what the terminal shows and ``--json`` prints."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from grpokit.algorithms.allocate import Rounds
from grpokit.compose.rules import reward_name
from grpokit.evaluate.means import share_interval
from grpokit.forecast.dead import beyond, dead_share, live_band, signal
from grpokit.forecast.probe import Probe, step_seconds
from grpokit.forecast.sample import Question
from grpokit.forecast.verdict import verdict
from grpokit.spec.seeds import derive_seed

__all__ = ["expected_rounds", "pass_rates", "summary"]

BINS = 10
ENOUGH = 0.8
"""Share of the most signal a completion that a group size must reach to be suggested."""
LOTS = 400
"""Steps that are played to count rounds."""


def summary(probe: Probe) -> dict[str, Any]:
    """Everything that was found, and the verdict."""
    recipe = probe.recipe
    asked = probe.questions
    data: dict[str, Any] = {
        "format": 1,
        "questions": len(asked),
        "samples": probe.samples,
        "rows": probe.rows,
        "steps": probe.horizon.steps,
        "group": recipe.rollout.group,
        "passing": {"reward": probe.passing.reward, "threshold": probe.passing.threshold},
        "solved": pass_rates(
            [rate for each in asked if (rate := each.pass_rate) is not None], probe.samples
        ),
        "scores": _scores(probe),
        "total": _total(probe),
        "truncated": _share(sum(q.truncated for q in asked), probe.now.completions),
        "duplicates": _share(sum(len(q.totals) - q.distinct for q in asked), probe.now.completions),
        "gold_in_text": _gold(asked),
        "rehearsed": probe.horizon.rehearsed,
        "rehearsal": {
            "dead": list(probe.rehearsal.dead),
            "seconds": [round(each, 3) for each in probe.rehearsal.seconds],
            "ended": probe.rehearsal.ended,
        },
        "dead": {str(size): _dead(probe, size) for size in probe.sizes()},
        "algorithm_differs": {"groups": probe.differs[0], "compared": probe.differs[1]},
    }
    data["rounds"] = _rounds(probe, data["dead"][str(recipe.rollout.group)]["share"])
    data["suggested"] = {"group": _group(data["dead"]), "band": _band(probe)}
    data["time"] = _time(probe)
    data["verdict"] = verdict(data, recipe)
    return data


def _share(count: int, whole: int) -> float:
    return count / whole if whole else 0.0


def pass_rates(rates: Sequence[float], samples: int) -> dict[str, Any]:
    """Pass rates by question: the mean with its interval, a histogram, and the two ends."""
    bins = [0] * BINS
    for rate in rates:
        bins[min(int(rate * BINS), BINS - 1)] += 1
    return {
        "known": len(rates),
        "mean": fmean(rates) if rates else None,
        "interval": list(share_interval(rates, samples=samples)),
        "histogram": bins,
        "never": sum(rate == 0 for rate in rates),
        "always": sum(rate == 1 for rate in rates),
    }


def _scores(probe: Probe) -> dict[str, Any]:
    """Mean, lowest and highest of each reward and of its parts, and how often it abstained."""
    names = dict.fromkeys(name for each in probe.questions for name in each.scores)
    weights = {reward_name(each): each.weight for each in probe.recipe.rewards}
    found = {}
    for name in names:
        numbers = _range([each.scores[name] for each in probe.questions if name in each.scores])
        later = None
        if probe.later is not None:
            later = _range([q.scores[name] for q in probe.later.questions if name in q.scores])[
                "mean"
            ]
        found[name] = {**numbers, "later": later, "weight": weights.get(name)}
    return found


def _total(probe: Probe) -> dict[str, Any]:
    later = None
    if probe.later is not None:
        later = _range([each.totals for each in probe.later.questions])["mean"]
    return {**_range([each.totals for each in probe.questions]), "later": later}


def _range(tables: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    values = [value for table in tables for value in table]
    known = [value for value in values if value is not None]
    return {
        "mean": fmean(known) if known else None,
        "low": min(known) if known else None,
        "high": max(known) if known else None,
        "abstained": _share(len(values) - len(known), len(values)),
    }


def _gold(asked: Sequence[Question]) -> float | None:
    known = [each.gold / len(each.totals) for each in asked if each.gold is not None]
    return fmean(known) if known else None


def _dead(probe: Probe, size: int) -> dict[str, Any]:
    """The share of dead groups of one size; bounds where a group is larger than the samples."""
    if size > probe.samples:
        known = {g: probe.dead(g) for g in (max(probe.samples // 2, 1), probe.samples)}
        low, high = beyond({g: each.mean for g, each in known.items()}, size)
        ends = beyond({g: each.interval[0] for g, each in known.items()}, size)
        interval = [ends[0], known[probe.samples].interval[1]]
        return {"share": None, "bounds": [low, high], "interval": interval}
    found = probe.dead(size)
    passed, failed = (
        fmean(_part(each, size, passed=which) for each in probe.questions)
        for which in (True, False)
    )
    return {
        "share": found.mean,
        "interval": list(found.interval),
        "now": found.now,
        "later": found.later,
        "now_passed": passed,
        "now_failed": failed,
        "signal": signal(found.mean, size),
    }


def _part(question: Question, size: int, *, passed: bool) -> float:
    """The share of groups that are dead and all passed, or dead and all failed."""
    pairs = zip(question.totals, question.passed, strict=True)
    chosen = [total for total, each in pairs if each is passed]
    return dead_share(chosen, size, whole=len(question.totals))


def _group(dead: dict[str, Any]) -> dict[str, Any] | None:
    """The smallest size with most of the signal a completion that any size has."""
    known = {int(size): each["signal"] for size, each in dead.items() if each["share"] is not None}
    best = max(known.values())
    if best <= 0:
        return None
    chosen = min(size for size, value in known.items() if value >= ENOUGH * best)
    return {"size": chosen, "signal": known[chosen], "best": best}


def _band(probe: Probe) -> dict[str, Any]:
    """Pass rates at which half of the groups are live, and the share of questions that lie there."""
    low, high = live_band(probe.recipe.rollout.group)
    rates = [rate for each in probe.questions if (rate := each.pass_rate) is not None]
    inside = [float(low <= rate <= high) for rate in rates]
    return {
        "low": round(low, 3),
        "high": round(high, 3),
        "questions": int(sum(inside)),
        "keeps": fmean(inside) if inside else None,
        "interval": list(share_interval(inside)),
    }


def _rounds(probe: Probe, dead: float) -> dict[str, Any] | None:
    if probe.rounds is None:
        return None
    found = expected_rounds(
        probe.rounds, probe.recipe.rollout.prompts, 1 - dead, probe.recipe.train.seed
    )
    return {"mean": found[0], "over": found[1], "most": probe.rounds.max_rounds}


def expected_rounds(rounds: Rounds, wanted: int, live: float, seed: int) -> tuple[float, float]:
    """Mean rounds of a step, and the share of steps that reach the bound, by playing steps."""
    lot = random.Random(derive_seed(seed, "probe", "rounds"))  # noqa: S311
    first = rounds.first(wanted)
    counts, over = [], 0
    for _ in range(LOTS):
        passed = done = 0
        while passed < wanted and done < rounds.max_rounds:
            asks = first if done == 0 or rounds.refill == "round" else wanted - passed
            passed += sum(lot.random() < live for _ in range(asks))
            done += 1
        counts.append(done)
        over += passed < wanted
    return fmean(counts), over / LOTS


def _time(probe: Probe) -> dict[str, Any]:
    """Seconds of the whole run: from real steps, or of drawing and scoring alone."""
    steps = probe.recipe.train.steps
    a_step = step_seconds(probe)
    drawn = probe.now.seconds / max(probe.now.completions, 1)
    rollout = probe.recipe.rollout
    generate = drawn * rollout.prompts * rollout.group
    return {
        "step": a_step,
        "generate": generate,
        "run": steps * (generate if a_step is None else a_step),
        "whole": a_step is not None,
        "tokens_a_second": probe.now.tokens / probe.now.seconds if probe.now.seconds else None,
    }
