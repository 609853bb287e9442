"""CPPO's loss and gradient: pruned rows add nothing, rows that stay have the documented scale."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from grpokit.api import (
    Advantages,
    Algorithm,
    Completion,
    LossInputs,
    Prompt,
    Recipe,
    Rollout,
    Sampling,
    Selection,
    algorithms,
)
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import create
from grpokit_cppo import prune
from grpokit_cppo.algorithm import build
from grpokit_cppo.config import CppoConfig, PruneConfig
from tiny_model import write_tiny_model

hf = pytest.importorskip("grpokit_hf.backend")

REWARDS = [[3.0, 0.0, 1.0, 1.0], [2.5, 2.5, 0.0, 1.5], [0.0, 0.0, 0.0, 1.0]]
LENGTHS = [[5, 2, 3, 1], [4, 4, 1, 3], [2, 5, 3, 3]]
SCALES = {
    "paper": ({"aggregation": "sequence-mean"}, lambda length, tokens: 1 / 6 / length),
    "code": ({"aggregation": "token-mean"}, lambda length, tokens: 1 / tokens),
    "group": (
        {"aggregation": "sequence-mean", "normalise": "group"},
        lambda length, tokens: 1 / 12 / length,
    ),
    "constant": ({"aggregation": "constant-length"}, lambda length, tokens: 1 / 6 / 5),
}


def step(algorithm: Algorithm, rollout: Rollout, scores: Any, inputs_of: Any, leaf_PGT: Any) -> Any:
    """Selection and loss of one step, from a leaf that holds the log-probs of every completion."""
    advantages = algorithm.advantages(rollout, scores)
    selection = algorithm.select(rollout, scores, advantages)
    p_N, g_N = (list(index) for index in zip(*selection.rows, strict=True))
    new_NT = leaf_PGT[p_N, g_N]
    lengths = torch.tensor([LENGTHS[p][g] for p, g in selection.rows])
    mask_NT = torch.arange(5) < lengths[:, None]
    advantages_N = advantages.advantages_PG[p_N, g_N]
    old_NT, ref_NT = new_NT.detach(), new_NT.detach() - 0.1
    inputs = inputs_of(old_NT, old_NT, ref_NT, mask_NT, advantages_N, selection.denominator)
    inputs = replace(inputs, logprobs_NT=new_NT)
    return selection, algorithm.loss(inputs).loss, advantages, int(mask_NT.sum())


@pytest.mark.parametrize("where", SCALES)
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_gradient_of_every_completion(inputs_of, rollout_of, scores_of, where, beta):
    """At ratio 1: -A_i times the scale for a row that stays (and the divergence), exactly 0 else."""
    settings, scale = SCALES[where]
    algorithm = build(CppoConfig(rate=0.5, beta=beta, **settings))
    leaf_PGT = (-torch.rand(3, 4, 5, dtype=torch.float64)).requires_grad_()
    selection, loss, advantages, tokens = step(
        algorithm, rollout_of(REWARDS), scores_of(REWARDS), inputs_of, leaf_PGT
    )
    loss.backward()
    assert len(selection.rows) == 6
    divergence = beta * (1 - math.exp(-0.1))
    for p, g in rollout_of(REWARDS).rows():
        found = leaf_PGT.grad[p, g]
        if (p, g) not in selection.rows:
            assert torch.equal(found, torch.zeros(5, dtype=torch.float64))
            continue
        length = LENGTHS[p][g]
        value = (divergence - advantages.advantages_PG[p, g].item()) * scale(length, tokens)
        expected = torch.tensor([value] * length + [0.0] * (5 - length), dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)
        assert found[0] != 0


def test_without_pruning_it_is_grpo(inputs_of):
    """The same loss and gradient as GRPO's composition, on stale and ragged rows with large ratios."""
    for seed in range(50):
        rng = torch.Generator().manual_seed(seed)
        noise = partial(torch.randn, 6, 7, generator=rng, dtype=torch.float64)
        old_NT, drift = -noise().abs(), random.Random(seed).choice([0.1, 1.0, 5.0])
        mask_NT = torch.arange(7) < torch.randint(0, 8, (6, 1), generator=rng)
        new_NT, ref_NT = old_NT + drift * noise(), old_NT + noise()
        advantages_N = torch.randn(6, generator=rng, dtype=torch.float64)
        inputs = inputs_of(new_NT, old_NT, ref_NT, mask_NT, advantages_N, 6)
        grpo = algorithms.Composition(
            advantage=partial(algorithms.group_zscore, std_eps=1e-4),
            clip=partial(algorithms.clip_ratio, epsilon=0.2),
            regulariser=algorithms.KlPenalty(0.04),
            aggregation=algorithms.token_mean,
        )
        found = []
        for algorithm in (build(CppoConfig(rate=0.0)), grpo):
            leaf_NT = new_NT.clone().requires_grad_()
            loss = algorithm.loss(replace(inputs, logprobs_NT=leaf_NT)).loss
            loss.backward()
            found.append((loss.item(), leaf_NT.grad))
        assert found[0][0] == found[1][0]
        assert torch.equal(found[0][1], found[1][1])
        assert torch.isfinite(found[0][1]).all()


def test_the_part_in_another_algorithm_selects_the_same(rollout_of, scores_of):
    whole = build(CppoConfig(rate=0.5))
    grpo = algorithms.Composition(
        advantage=algorithms.group_zscore,
        clip=algorithms.clip_ratio,
        aggregation=algorithms.sequence_mean,
    )
    part = algorithms.build_algorithm(grpo, {"select": prune.build(PruneConfig(rate=0.5))})
    rollout, scores = rollout_of(REWARDS), scores_of(REWARDS)
    found = [
        each.select(rollout, scores, each.advantages(rollout, scores)) for each in (whole, part)
    ]
    assert found[0].rows == found[1].rows
    assert len(found[0].rows) == 6


def test_the_parts_that_the_spec_names_make_the_same_algorithm(rollout_of, scores_of, inputs_of):
    catalog = Catalog.load()
    named = dict(catalog.find("algorithm", "cppo/cppo").spec.parts)
    assert set(named) == set(algorithms.AXES)
    parts = {axis: create(catalog.find("algorithm", name), {}) for axis, (name,) in named.items()}
    grpo = create(catalog.find("algorithm", "grpo"), {})
    found = []
    for algorithm in (build(CppoConfig()), algorithms.build_algorithm(grpo, parts)):
        leaf_PGT = torch.linspace(-3, -0.1, 60, dtype=torch.float64).view(3, 4, 5).requires_grad_()
        arguments = (rollout_of(REWARDS), scores_of(REWARDS), inputs_of, leaf_PGT)
        selection, loss, _, _ = step(algorithm, *arguments)
        loss.backward()
        found.append((selection, loss.item(), leaf_PGT.grad.tolist()))
    assert found[0] == found[1]


def test_it_asks_for_the_reference_only_with_a_divergence():
    assert build(CppoConfig()).needs_reference
    assert not build(CppoConfig(beta=0.0)).needs_reference
    assert CppoConfig().needs() == {"reference"}
    assert CppoConfig(beta=0.0).needs() == frozenset()
    assert not build(CppoConfig()).needs_entropy


def test_defaults_are_the_authors():
    config = CppoConfig()
    assert (config.epsilon, config.beta, config.std_ddof, config.std_eps) == (0.2, 0.04, 1, 1e-4)
    assert (config.aggregation, config.scope, config.metric) == (
        "token-mean",
        "question",
        "smallest",
    )


# ---------------------------------------------------------------- a real model


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Recipe:
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"))
    return Recipe.model_validate(
        {
            "grpokit": 1,
            "model": {"id": str(folder), "dtype": "float32", "lora": None},
            "dataset": {"use": "inline"},
            "rewards": [{"use": "exact"}],
            "rollout": {"prompts": 3, "group": 4, "max_tokens": 6},
            "optim": {"lr": 1e-2, "warmup": 0.0, "schedule": "constant", "iterations": 2},
            "backend": {"use": "hf", "with": {"threads": 1, "device": "cpu"}},
            "train": {"steps": 4, "seed": 7},
        }
    )


def trained(
    recipe: Recipe,
    algorithm: Algorithm,
    rollout: Rollout,
    advantages: Advantages,
    selection: Selection,
) -> Any:
    """The weights after one step on ``selection``, and how many rows went through the loss."""
    from grpokit_hf.config import HfConfig

    backend = hf.HfBackend(HfConfig.model_validate(recipe.backend.with_))
    backend.open(recipe, needs_reference=algorithm.needs_reference, needs_entropy=False)
    seen: list[int] = []

    def counting(inputs: LossInputs) -> Any:
        seen.append(len(inputs.weights_N))
        return algorithm.loss(inputs)

    backend.update(counting, rollout, advantages, selection, 1)
    weights = {name: weight.detach().clone() for name, weight in backend.policy.weights.items()}
    backend.close()
    return weights, sum(seen)


@pytest.fixture
def rollout() -> Rollout:
    rng = random.Random(0)

    def completion(length: int) -> Completion:
        ids = tuple(rng.randrange(5, 60) for _ in range(length))
        return Completion(token_ids=ids, text="", finish="stop")

    return Rollout(
        prompts=tuple(Prompt(id=f"q{p}", index=p, row={}, messages=()) for p in range(3)),
        prompt_ids=((6, 7, 8), (9, 10), (11,)),
        completions=tuple(tuple(completion(length) for length in row) for row in LENGTHS),
        sampling=Sampling(group=4, max_tokens=6, seed=7, step=1),
    )


@pytest.mark.parametrize(
    "settings", [{"beta": 0.04}, {"beta": 0.0, "aggregation": "sequence-mean"}]
)
def test_pruned_completions_do_not_reach_the_weights(recipe, rollout, scores_of, settings):
    """Other tokens in the pruned rows: bit-equal weights. Other tokens in a row that stays: not."""
    algorithm = build(CppoConfig(rate=0.5, **settings))
    scores = scores_of(REWARDS)
    advantages = algorithm.advantages(rollout, scores)
    selection = algorithm.select(rollout, scores, advantages)

    def changed(rows: set[tuple[int, int]]) -> Rollout:
        completions = [list(group) for group in rollout.completions]
        for p, g in rows:
            ids = tuple(60 - token for token in completions[p][g].token_ids)
            completions[p][g] = replace(completions[p][g], token_ids=(*ids, 12))
        return replace(rollout, completions=tuple(tuple(group) for group in completions))

    before, seen = trained(recipe, algorithm, rollout, advantages, selection)
    assert seen == 2 * 6  # two optimiser steps, six of twelve rows in each
    pruned = set(rollout.rows()) - set(selection.rows)
    after, _ = trained(recipe, algorithm, changed(pruned), advantages, selection)
    other, _ = trained(recipe, algorithm, changed({selection.rows[0]}), advantages, selection)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(before[name], other[name]) for name in before)
