"""The numbers of one step, with stable names. The reference lists them: docs/reference/metrics.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grpokit.spec.flow import Advantages, Gathered, Rollout, Scores, Selection, Update

__all__ = ["METRICS", "rollout_rows", "step_metrics", "unfinished_rows"]

METRICS: dict[str, str] = {
    "reward": "mean total reward of the step's completions (abstentions left out)",
    "reward_std": "standard deviation of the total reward over the step",
    "rewards/NAME/mean": "mean score of one reward, unweighted",
    "rewards/NAME/std": "its standard deviation over the step",
    "components/NAME/PART": "mean of a named component of a reward",
    "dead_groups": "share of groups whose advantages are all zero: they teach nothing",
    "dead_groups_high": "share of groups that are dead at the step's highest total",
    "abstained": "share of completions without a total: every reward abstained or failed",
    "failures": "rewards that could not score a completion, counted",
    "dropped_groups": "share of groups that the allocation left out of the update",
    "rounds": "rounds of generating and scoring; more than 1 where the algorithm asked for more",
    "questions": "prompts drawn, those of dropped groups too",
    "trained_rows": "completions that were trained on",
    "length/mean": "mean tokens of a completion",
    "length/min": "shortest completion",
    "length/max": "longest completion",
    "truncated": "share of completions that ran into rollout.max_tokens",
    "tokens": "completion tokens generated",
    "epoch": "passes over the data set so far; absent for an endless one",
    "entropy": "mean entropy of the policy per token, in nats",
    "kl": "mean k3 divergence from the reference policy per token; absent without a reference",
    "clip_delta": "share of tokens whose ratio was cut by `delta`; absent without it",
    "clip_low": "share of tokens whose ratio was clipped from below",
    "clip_high": "share of tokens whose ratio was clipped from above",
    "ratio": "mean ratio of new to old policy per token",
    "sampler_gap": "mean absolute difference of log-probs between sampler and trainer, per token",
    "rejected": "share of tokens that the part `correction` leaves out of the update, as sampler and "
    "trainer differ too much on them; absent without such a part",
    "policy_loss": "the clipped objective, negated, per trained token",
    "staleness": "mean age in steps of the weights that drew the groups that go on; absent unless "
    "`rollout.staleness` is set",
    "kl_old": "k3 divergence of the policy from that of the rollout, per token",
    "loss": "the minimised loss; it says little about learning",
    "grad_norm": "norm of the gradient before it is clipped",
    "lr": "learning rate of the last optimiser step",
    "optimizer_steps": "optimiser steps taken with this rollout batch",
    "total/questions_seen": "prompts drawn since the first step",
    "total/completions_generated": "completions drawn since the first step",
    "total/completions_trained": "completions that trained since the first step",
    "total/forwards_saved": "forward passes (policy, old, reference) of completions that did not train",
    "total/optimizer_steps": "optimiser steps since the first step",
    "skipped_steps": "optimiser steps skipped because the gradient was not finite",
}
"""Names in ``metrics.jsonl`` and what they mean. Further names may come from an algorithm."""


def step_metrics(
    whole: Gathered, kept: Sequence[int], selection: Selection, update: Update
) -> dict[str, float]:
    """All numbers of one step except times. Names without a value are left out.

    Rewards, lengths and dead groups are those of every group that was drawn: the curve of a run that
    drops groups means the same as that of one which does not.
    """
    rollout, scores = whole.rollout, whole.scores
    metrics: dict[str, float] = {}
    totals = _known(scores.total)
    if totals:
        metrics["reward"] = statistics.fmean(totals)
        metrics["reward_std"] = statistics.pstdev(totals)
    for name, values_PG in scores.rewards.items():
        known = _known(values_PG)
        if known:
            metrics[f"rewards/{name}/mean"] = statistics.fmean(known)
            metrics[f"rewards/{name}/std"] = statistics.pstdev(known)
    for name, values_PG in scores.components.items():
        known = _known(values_PG)
        if known:
            metrics[f"components/{name}"] = statistics.fmean(known)
    metrics.update(_group_metrics(scores, whole.advantages))
    groups = len(rollout.prompts)
    metrics["dropped_groups"] = (groups - len(set(kept))) / groups
    metrics["rounds"] = whole.rounds
    metrics["questions"] = groups
    metrics["failures"] = len(scores.failures)
    metrics["trained_rows"] = len(_trained(selection))
    metrics.update(_length_metrics(rollout))
    metrics.update(update.metrics)
    metrics["optimizer_steps"] = update.optimizer_steps
    return metrics


def _group_metrics(scores: Scores, advantages: Advantages) -> dict[str, float]:
    dead_P: list[bool] = advantages.dead_P.tolist()
    count = sum(len(group) for group in scores.total)
    known = _known(scores.total)
    top = max(known, default=0.0)
    high = sum(
        dead and bool(_known([group])) and min(_known([group])) >= top - 1e-8
        for dead, group in zip(dead_P, scores.total, strict=True)
    )
    return {
        "dead_groups": sum(dead_P) / len(dead_P),
        "dead_groups_high": high / len(dead_P),
        "abstained": 1 - len(known) / count,
    }


def _length_metrics(rollout: Rollout) -> dict[str, float]:
    completions = [c for group in rollout.completions for c in group]
    lengths = [len(c.token_ids) for c in completions]
    return {
        "length/mean": statistics.fmean(lengths),
        "length/min": min(lengths),
        "length/max": max(lengths),
        "truncated": sum(c.finish == "length" for c in completions) / len(completions),
        "tokens": sum(lengths),
    }


def rollout_rows(
    step: int,
    rollout: Rollout,
    scores: Scores,
    kept: Sequence[int],
    advantages: Advantages,
    selection: Selection,
) -> list[dict[str, Any]]:
    """One row a prompt for ``rollouts.jsonl``: every completion, its scores, advantage and fate.

    ``advantages`` and ``selection`` are of the groups ``kept``; one that was dropped says so, and its
    advantages are 0.
    """
    trained = {(kept[place], g) for place, g in _trained(selection)}
    known: dict[int, list[float]] = dict(zip(kept, advantages.advantages_PG.tolist(), strict=True))
    return _rows(step, rollout, scores, known, trained)


def _rows(
    step: int,
    rollout: Rollout,
    scores: Scores,
    known: Mapping[int, list[float]],
    trained: set[tuple[int, int]],
) -> list[dict[str, Any]]:
    failed = {(f.prompt_index, f.sample, f.reward): f.message for f in scores.failures}
    rows = []
    for p, prompt in enumerate(rollout.prompts):
        completions = []
        advantages_G = known.get(p, [0.0] * len(rollout.completions[p]))
        for g, completion in enumerate(rollout.completions[p]):
            row: dict[str, Any] = {
                "sample": g,
                "text": completion.text,
                "tokens": len(completion.token_ids),
                "finish": completion.finish,
                "rewards": {name: values[p][g] for name, values in scores.rewards.items()},
                "total": scores.total[p][g],
                "advantage": advantages_G[g],
                "kept": (p, g) in trained,
            }
            errors = {name: failed[p, g, name] for name in row["rewards"] if (p, g, name) in failed}
            completions.append({**row, "errors": errors} if errors else row)
        dropped = {} if p in known else {"dropped": True}
        rows.append(
            {"step": step, "prompt": _prompt_row(prompt), **dropped, "completions": completions}
        )
    return rows


def unfinished_rows(step: int, rollout: Rollout, scores: Scores) -> list[dict[str, Any]]:
    """The same of a step that failed: nothing trained, and there are no advantages."""
    zeros = [[0.0] * len(group) for group in rollout.completions]
    return _rows(step, rollout, scores, dict(enumerate(zeros)), set())


def _prompt_row(prompt: Any) -> Mapping[str, Any]:
    answer = prompt.row.get("answer")
    return {
        "id": prompt.id,
        "index": prompt.index,
        "messages": list(prompt.messages),
        "answer": answer if isinstance(answer, str | int | float) else None,
    }


def _trained(selection: Selection) -> set[tuple[int, int]]:
    """Rows of weight 0 add nothing to the loss, so they did not train."""
    pairs = zip(selection.rows, selection.weights, strict=True)
    return {row for row, weight in pairs if weight != 0}


def _known(values_PG: Iterable[Sequence[float | None]]) -> list[float]:
    return [value for group in values_PG for value in group if value is not None]
