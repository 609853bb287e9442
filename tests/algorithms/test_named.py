"""Named algorithms are what their specs say, and what sets them apart is what changes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from grpokit.algorithms import AXES, Composition, axes
from grpokit.algorithms.aggregate import total_scores
from grpokit.algorithms.grpo import build
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.algorithms.named_config import DrGrpoConfig, GspoConfig
from grpokit.algorithms.regulariser import Sum
from grpokit.algorithms.relatives import dr_grpo, gspo
from grpokit.builtins.hooks import grpokit_algorithms
from grpokit.registry.resolve import resolve
from loss_reference import random_inputs, with_gradient

SPECS = tuple(grpokit_algorithms())
NAMED = [spec for spec in SPECS if not spec.axis]
PARTS = {(spec.axis, spec.name): spec for spec in SPECS if spec.axis}


def made(spec) -> Any:
    factory = resolve(spec.target)
    return factory(resolve(spec.config)()) if spec.config else factory()


def kinds(part: axes.Part) -> set[Any]:
    """What a part is, whatever its settings: a function, or a class with ``__call__``."""
    if isinstance(part, partial):
        return kinds(part.func)
    if isinstance(part, Sum):
        return set().union(*(kinds(term) for term in part.terms))
    base = getattr(part, "base", total_scores)
    if base is not total_scores:
        return {type(part)} | kinds(base)
    return {part if hasattr(part, "__code__") else type(part)}


@pytest.mark.parametrize("spec", NAMED, ids=lambda spec: spec.name)
def test_the_spec_names_the_parts_that_run(spec):
    composition = made(spec)
    assert isinstance(composition, Composition)
    assert {axis for axis, _ in spec.parts} == set(AXES)
    for axis, names in spec.parts:
        actual = composition.part(axis)
        told = set().union(*(kinds(made(PARTS[axis, name])) for name in names))
        assert kinds(actual) == told, f"{axis}: {names}"


def loss_and_gradient(algorithm: Composition, seed: int, **settings: Any):
    inputs = with_gradient(random_inputs(seed, **settings))
    loss = algorithm.loss(inputs).loss
    loss.backward()
    return loss.detach(), inputs.logprobs_NT.grad


def test_dr_grpo_is_grpo_with_constant_length():
    plain = build(GrpoConfig(aggregation="constant-length", beta=0.1, epsilon_high=0.3))
    other = dr_grpo(DrGrpoConfig(beta=0.1, epsilon_high=0.3))
    for seed in range(5):
        for ours, theirs in zip(
            loss_and_gradient(other, seed), loss_and_gradient(plain, seed), strict=True
        ):
            assert torch.equal(ours, theirs)
    totals_PG = torch.tensor([[0.0, 0.0, 1.0, 3.0]], dtype=torch.float64)
    valid_PG = torch.ones_like(totals_PG, dtype=torch.bool)
    assert other.advantage(totals_PG, valid_PG).tolist() == [[-1.0, -1.0, 0.0, 2.0]]


def test_gspo_and_grpo_agree_on_policy_and_part_with_the_second_step():
    """Their gradients are equal while every ratio is 1, and differ once old log-probs are stale."""
    wide = {"epsilon": 0.2, "epsilon_high": 0.2}
    one, other = gspo(GspoConfig(**wide)), build(GrpoConfig(**wide))
    for seed in range(5):
        fresh = {"drift": 0.0}
        (_, ours_NT), (_, grpos_NT) = (loss_and_gradient(a, seed, **fresh) for a in (one, other))
        torch.testing.assert_close(ours_NT, grpos_NT, rtol=1e-12, atol=1e-14)
        (_, ours_NT), (_, grpos_NT) = (loss_and_gradient(a, seed) for a in (one, other))
        assert not torch.allclose(ours_NT, grpos_NT, atol=1e-4)


def test_gspo_clips_whole_completions():
    """A row is clipped or not: its tokens' gradients are all zero, or all of one size."""
    inputs = with_gradient(random_inputs(2))
    gspo(GspoConfig(epsilon=0.05, epsilon_high=0.05)).loss(inputs).loss.backward()
    mask_NT = inputs.mask_NT.bool()
    clipped = 0
    for grad_T, mask_T in zip(inputs.logprobs_NT.grad, mask_NT, strict=True):
        own = grad_T[mask_T]
        clipped += bool((own == 0).all()) and own.numel() > 0
        assert (own == 0).all() or torch.allclose(own, own[0].expand_as(own))
    assert clipped > 0, "nothing was clipped, so nothing was tested"
