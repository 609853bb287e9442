"""Random steps from rewards to loss in float64, for comparisons of a whole algorithm with a framework."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpokit.algorithms import Composition
from grpokit.builtins.hooks import grpokit_algorithms
from grpokit.registry.resolve import resolve
from grpokit.spec.flow import (
    Completion,
    LossInputs,
    LossTotals,
    Prompt,
    Rollout,
    Sampling,
    Scores,
    Selection,
)

P, G, TOKENS = 3, 4, 12
ROWS = P * G
EOS = 2
SPECS = {spec.name: spec for spec in grpokit_algorithms() if not spec.axis}


@dataclass
class Step:
    """Stale log-probs of ragged completions, of which some ran into the length limit.

    Every third step is close to the policy, every third far from it, every third has single ratios of
    up to e^jump. ``mask_NT`` has all completion tokens, ``trained_NT`` none of truncated completions.
    """

    rewards: list[list[float | None]]
    ids: list[list[int]]
    truncated_N: Tensor
    logprobs_NT: Tensor
    old_NT: Tensor
    ref_NT: Tensor
    entropy_NT: Tensor
    mask_NT: Tensor
    trained_NT: Tensor

    @property
    def rollout(self) -> Rollout:
        rows = [
            Completion(
                token_ids=tuple(ids), text="", finish="length" if self.truncated_N[n] else "stop"
            )
            for n, ids in enumerate(self.ids)
        ]
        return Rollout(
            prompts=tuple(Prompt(id=f"{p}", index=p, row={}, messages=()) for p in range(P)),
            prompt_ids=((1,),) * P,
            completions=tuple(tuple(rows[p * G : (p + 1) * G]) for p in range(P)),
            sampling=Sampling(group=G, max_tokens=TOKENS),
        )


def draw(seed: int, *, jump: float = 6.0, abstain: bool = False) -> Step:
    """Rewards in eighths; in every fifth step a group has equal ones, in others one is missing."""
    rng = torch.Generator().manual_seed(seed)

    def normal() -> Tensor:
        return torch.randn(ROWS, TOKENS, generator=rng, dtype=torch.float64)

    logprobs_NT = -normal().abs() * 2 - 0.1
    old_NT = logprobs_NT + (0.1, 0.5, 0.3)[seed % 3] * normal()
    if seed % 3 == 2:
        far_NT = torch.rand(ROWS, TOKENS, generator=rng) < 0.15
        jump_NT = (torch.rand(ROWS, TOKENS, generator=rng, dtype=torch.float64) * 2 - 1) * jump
        old_NT = torch.where(far_NT, logprobs_NT + jump_NT, old_NT)
        old_NT[3] = logprobs_NT[3] - jump / 2
    lengths_N = torch.randint(1, TOKENS + 1, (ROWS,), generator=rng)
    lengths_N[0] = TOKENS
    truncated_N = torch.rand(ROWS, generator=rng) < 0.2
    truncated_N[5], truncated_N[1:4] = True, False
    rewards = (torch.randint(0, 9, (P, G), generator=rng) / 8).tolist()
    rewards[0] = [1.0, 0.25, 0.5, 0.0]
    if seed % 5 == 0:
        rewards[2] = [0.375] * G
    elif abstain:
        rewards[1][seed % G] = None
    ids = [torch.randint(4, 100, (int(n),), generator=rng).tolist() for n in lengths_N]
    for row, truncated in zip(ids, truncated_N, strict=True):
        row[-1] = 5 if truncated else EOS
    mask_NT = (torch.arange(TOKENS) < lengths_N[:, None]).double()
    return Step(
        rewards=rewards,
        ids=ids,
        truncated_N=truncated_N,
        logprobs_NT=logprobs_NT,
        old_NT=old_NT,
        ref_NT=logprobs_NT + (0.6, 2.0)[seed % 2] * normal(),
        entropy_NT=normal().abs(),
        mask_NT=mask_NT,
        trained_NT=mask_NT * ~truncated_N[:, None],
    )


def named(name: str, **settings: object) -> Composition:
    """A named algorithm of core, as a recipe makes it."""
    spec = SPECS[name]
    algorithm = resolve(spec.target)(resolve(spec.config)(**settings))
    assert isinstance(algorithm, Composition)
    return algorithm


def ours(algorithm: Composition, step: Step, parts: int = 2) -> tuple[Tensor, Tensor]:
    """Loss and gradient by all log-probs, through the whole contract, in ``parts`` micro-batches."""
    rollout = step.rollout
    scores = Scores(rewards={}, components={}, total=step.rewards)
    advantages = algorithm.advantages(rollout, scores)
    selection = algorithm.select(rollout, scores, advantages)
    rows = [p * G + g for p, g in selection.rows]
    logprobs_NT = step.logprobs_NT.clone().requires_grad_()
    size = -(-len(rows) // parts)
    loss = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        given = _inputs(step, logprobs_NT, rows[some], selection, some)
        given = dataclasses.replace(
            given, advantages_N=advantages.advantages_PG.reshape(-1)[rows[some]].double()
        )
        totals = dataclasses.replace(given.totals, tokens=int(step.mask_NT[rows].sum()))
        loss = loss + algorithm.loss(dataclasses.replace(given, totals=totals)).loss
    (gradient_NT,) = torch.autograd.grad(loss, logprobs_NT)
    return loss.detach(), gradient_NT


def _inputs(
    step: Step, logprobs_NT: Tensor, rows: Sequence[int], selection: Selection, some: slice
) -> LossInputs:
    index = torch.tensor(rows)
    return LossInputs(
        logprobs_NT=logprobs_NT[index],
        old_logprobs_NT=step.old_NT[index],
        ref_logprobs_NT=step.ref_NT[index],
        sampler_logprobs_NT=None,
        entropy_NT=step.entropy_NT[index],
        advantages_N=torch.zeros(len(rows)),
        weights_N=torch.tensor(selection.weights[some], dtype=torch.float64),
        truncated_N=step.truncated_N[index],
        mask_NT=step.mask_NT[index],
        totals=LossTotals(rows=selection.denominator, tokens=0, max_tokens=TOKENS),
    )


def check(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], name: str) -> None:
    """Equal to 1e-6 of their size in loss and gradient, with a gradient to compare."""
    for mine, theirs, what in zip(found, expected, ("loss", "gradient"), strict=True):
        assert bool(mine.isfinite().all()), (name, what)
        torch.testing.assert_close(
            mine, theirs, rtol=1e-6, atol=1e-6, msg=lambda m, w=what: f"{name}: {w}: {m}"
        )
    assert float(expected[1].norm()) > 0, name


def differs(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    """Whether the comparison above would fail."""
    return any(
        not torch.allclose(mine, theirs, rtol=1e-6, atol=1e-6)
        for mine, theirs in zip(found, expected, strict=True)
    )
