"""The loss of GRPO in plain Python loops, and random micro-batches to try it on.

Written from the formula, one token at a time, with its derivative by hand. It shares no code with
``grpokit.algorithms``.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from grpokit.spec.flow import LossInputs, LossTotals

Rows = list[list[float]]


def random_inputs(
    seed: int,
    *,
    rows: int = 6,
    tokens: int = 9,
    drift: float = 0.5,
    dtype: torch.dtype = torch.float64,
    max_tokens: int = 12,
) -> LossInputs:
    """Ragged rows with holes in their masks, stale old log-probs and rubbish in the padding."""
    rng = torch.Generator().manual_seed(seed)
    shape = (rows, tokens)

    def noise(scale: float) -> torch.Tensor:
        return scale * torch.randn(shape, generator=rng, dtype=torch.float64)

    lengths_N = torch.randint(1, tokens + 1, (rows,), generator=rng)
    mask_NT = torch.arange(tokens) < lengths_N[:, None]
    mask_NT &= torch.rand(shape, generator=rng) > 0.15
    old_NT = -noise(1.5).abs() - 0.1
    new_NT = old_NT + noise(drift)
    advantages_N = torch.randn(rows, generator=rng, dtype=torch.float64)
    advantages_N[0] = 0.0
    inputs = LossInputs(
        logprobs_NT=new_NT,
        old_logprobs_NT=old_NT,
        ref_logprobs_NT=new_NT + noise(0.4),
        sampler_logprobs_NT=old_NT + noise(0.2),
        entropy_NT=noise(1.0).abs(),
        advantages_N=advantages_N,
        weights_N=torch.rand(rows, generator=rng, dtype=torch.float64) + 0.5,
        truncated_N=torch.rand(rows, generator=rng) < 0.3,
        mask_NT=mask_NT,
        totals=LossTotals(rows=rows + 2, tokens=int(mask_NT.sum()) + 3, max_tokens=max_tokens),
    )
    filled = {
        name: value.masked_fill(~mask_NT, -math.inf if index % 2 else 1e4).to(dtype)
        for index, (name, value) in enumerate(_by_token(inputs).items())
    }
    return dataclasses.replace(
        inputs,
        **filled,
        mask_NT=mask_NT,
        advantages_N=advantages_N.to(dtype),
        weights_N=inputs.weights_N.to(dtype),
    )


def _by_token(inputs: LossInputs) -> dict[str, torch.Tensor]:
    values = {field.name: getattr(inputs, field.name) for field in dataclasses.fields(inputs)}
    other = ("mask_NT", "tokens_NT")
    return {
        name: value for name, value in values.items() if name.endswith("_NT") and name not in other
    }


def with_gradient(inputs: LossInputs) -> LossInputs:
    """The same inputs, with log-probs and entropies as leaves."""
    assert inputs.entropy_NT is not None
    return dataclasses.replace(
        inputs,
        logprobs_NT=inputs.logprobs_NT.clone().requires_grad_(),
        entropy_NT=inputs.entropy_NT.clone().requires_grad_(),
    )


def part_of(inputs: LossInputs, rows: Sequence[int]) -> LossInputs:
    """Some rows of a batch, with the totals of all."""
    values: dict[str, Any] = {
        field.name: getattr(inputs, field.name) for field in dataclasses.fields(inputs)
    }
    index = torch.tensor(list(rows))
    return LossInputs(
        **{
            name: value[index] if isinstance(value, torch.Tensor) else value
            for name, value in values.items()
        }
    )


def random_splits(count: int, seed: int, how_many: int) -> Iterable[list[list[int]]]:
    """Random partitions of ``range(count)``; the first is one batch, the second single rows."""
    yield [list(range(count))]
    yield [[row] for row in range(count)]
    rng = random.Random(seed)
    for _ in range(how_many):
        order = list(range(count))
        rng.shuffle(order)
        parts: list[list[int]] = []
        while order:
            size = rng.randint(1, len(order))
            parts.append(order[:size])
            order = order[size:]
        yield parts


def reference_loss(
    inputs: LossInputs,
    *,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    delta: float | None = None,
    beta: float = 0.0,
    kl_estimator: str = "k3",
    kl_times_ratio: bool = False,
    entropy_coef: float = 0.0,
    aggregation: str = "sequence-mean",
    mask_truncated: bool = False,
) -> tuple[float, Rows, dict[str, float]]:
    """Loss, its derivative by each log-prob, and metrics, all as plain floats."""
    high = epsilon if epsilon_high is None else epsilon_high
    mask = [
        [bool(m) and not (mask_truncated and truncated) for m in row]
        for row, truncated in zip(inputs.mask_NT.tolist(), inputs.truncated_N.tolist(), strict=True)
    ]
    new, old = inputs.logprobs_NT.tolist(), inputs.old_logprobs_NT.tolist()
    assert inputs.ref_logprobs_NT is not None
    assert inputs.entropy_NT is not None
    ref, entropy = inputs.ref_logprobs_NT.tolist(), inputs.entropy_NT.tolist()
    loss = 0.0
    grad = [[0.0] * len(row) for row in new]
    sums = {"kl": 0.0, "clip_low": 0.0, "clip_high": 0.0, "ratio": 0.0, "kl_old": 0.0}
    counted = 0
    for i, row in enumerate(mask):
        advantage, weight = float(inputs.advantages_N[i]), float(inputs.weights_N[i])
        scale = weight * _scale(
            aggregation, sum(row), sum(map(sum, mask)), len(mask), inputs.totals
        )
        for t, counts in enumerate(row):
            if not counts:
                continue
            w = math.exp(new[i][t] - old[i][t])
            value, slope = _objective(w, advantage, 1 - epsilon, 1 + high, delta)
            term, term_slope = -value, -slope
            x = ref[i][t] - new[i][t]
            k, k_slope = _divergence(kl_estimator, x)
            if kl_times_ratio:
                k, k_slope = k * w, k_slope * w + k * w
            term += beta * k - entropy_coef * entropy[i][t]
            term_slope += beta * k_slope
            loss += scale * term
            grad[i][t] = scale * term_slope
            counted += 1
            sums["kl"] += math.exp(x) - x - 1
            sums["clip_low"] += w < 1 - epsilon and advantage < 0
            sums["clip_high"] += w > 1 + high and advantage > 0
            sums["ratio"] += w
            sums["kl_old"] += w - 1 - math.log(w)
    return loss, grad, {name: value / max(counted, 1) for name, value in sums.items()}


def _objective(
    w: float, advantage: float, low: float, high: float, delta: float | None
) -> tuple[float, float]:
    """min(min(w, delta) A, clip(w) A) and its derivative by log w."""
    plain = w if delta is None else min(w, delta)
    plain_slope = 0.0 if delta is not None and w > delta else w
    clipped = min(max(w, low), high)
    clipped_slope = w if low <= w <= high else 0.0
    if plain * advantage <= clipped * advantage:
        return plain * advantage, plain_slope * advantage
    return clipped * advantage, clipped_slope * advantage


def _divergence(estimator: str, x: float) -> tuple[float, float]:
    """The estimator and its derivative by log pi, where x = log pi_ref - log pi."""
    if estimator == "k1":
        return -x, 1.0
    if estimator == "k2":
        return x * x / 2, -x
    return math.exp(x) - x - 1, 1 - math.exp(x)


def _scale(aggregation: str, length: int, local: int, rows: int, totals: LossTotals) -> float:
    if aggregation == "sequence-mean":
        return 1 / (max(length, 1) * totals.rows)
    if aggregation == "token-mean":
        return 1 / totals.tokens
    if aggregation == "constant-length":
        return 1 / (totals.rows * totals.max_tokens)
    return rows / (totals.rows * max(local, 1))
