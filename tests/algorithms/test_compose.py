"""The loss as a whole: against plain loops, and over any split of a step."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import pytest
import torch

from grpokit.algorithms.correction import Rejection, importance_weight
from grpokit.algorithms.grpo import build
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.spec.flow import Advantages, Completion, Prompt, Rollout, Sampling, Scores
from loss_reference import part_of, random_inputs, random_splits, reference_loss, with_gradient

SETTINGS = [
    {},
    {"epsilon": 0.1, "epsilon_high": 0.3},
    {"delta": 1.5},
    {"beta": 0.04},
    {"beta": 0.3, "kl_estimator": "k1"},
    {"beta": 0.3, "kl_estimator": "k2", "aggregation": "token-mean"},
    {"beta": 0.2, "kl_times_ratio": True, "delta": 1.4, "epsilon_high": 0.28},
    {"entropy_coef": 0.01, "aggregation": "constant-length"},
    {"aggregation": "token-mean", "mask_truncated": True},
    {"mask_truncated": True, "beta": 0.1, "entropy_coef": 0.1},
    {"aggregation": "token-mean-local"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_loss_gradient_and_metrics_against_plain_loops(settings, dtype):
    """Stale log-probs, ragged rows, holes in the mask, rubbish in the padding."""
    seen = {"clip_low": 0.0, "clip_high": 0.0}
    for seed in range(6):
        inputs = with_gradient(random_inputs(seed, dtype=dtype))
        outputs = build(GrpoConfig(**settings)).loss(inputs)
        loss, grad, metrics = reference_loss(inputs, **settings)
        assert outputs.loss.item() == pytest.approx(loss, rel=1e-5, abs=1e-6)
        outputs.loss.backward()
        expected_NT = torch.tensor(grad, dtype=dtype)
        torch.testing.assert_close(inputs.logprobs_NT.grad, expected_NT, rtol=1e-5, atol=1e-6)
        for name, value in metrics.items():
            numerator, denominator = outputs.sums[name]
            assert not numerator.requires_grad
            assert (numerator / denominator).item() == pytest.approx(value, rel=1e-5, abs=1e-6)
        for name in seen:
            seen[name] += metrics[name]
    assert min(seen.values()) > 0, "the case never clipped, so it tests nothing"


def test_entropy_gradient():
    inputs = with_gradient(random_inputs(3))
    build(GrpoConfig(entropy_coef=0.5, aggregation="token-mean")).loss(inputs).loss.backward()
    assert inputs.entropy_NT is not None
    weights_N1 = inputs.weights_N[:, None]
    expected = torch.where(inputs.mask_NT, -0.5 * weights_N1 / inputs.totals.tokens, 0.0)
    torch.testing.assert_close(inputs.entropy_NT.grad, expected)


@pytest.mark.parametrize(
    "settings", [s for s in SETTINGS if s.get("aggregation") != "token-mean-local"], ids=str
)
def test_any_split_gives_the_same_step(settings):
    algorithm = build(GrpoConfig(**settings))
    whole = random_inputs(11, rows=9)
    results = []
    for parts in random_splits(9, seed=5, how_many=12):
        leaf_NT = whole.logprobs_NT.clone().requires_grad_()
        inputs = dataclasses.replace(whole, logprobs_NT=leaf_NT)
        outputs = [algorithm.loss(part_of(inputs, rows)) for rows in parts]
        for output in outputs:
            output.loss.backward()
        sums = {
            name: sum((o.sums[name][0] for o in outputs), torch.zeros(()))
            for name in outputs[0].sums
        }
        assert leaf_NT.grad is not None
        results.append((sum(o.loss.item() for o in outputs), leaf_NT.grad, sums))
    loss, grad_NT, sums = results[0]
    assert grad_NT.abs().sum() > 0
    for other_loss, other_grad_NT, other_sums in results[1:]:
        assert other_loss == pytest.approx(loss, rel=1e-12)
        torch.testing.assert_close(other_grad_NT, grad_NT, rtol=1e-12, atol=1e-15)
        for name, value in sums.items():
            torch.testing.assert_close(other_sums[name], value, rtol=1e-9, atol=1e-12)


def test_local_token_mean_does_depend_on_the_split():
    algorithm = build(GrpoConfig(aggregation="token-mean-local"))
    whole = random_inputs(11, rows=9)
    losses = {
        round(sum(algorithm.loss(part_of(whole, rows)).loss.item() for rows in parts), 9)
        for parts in random_splits(9, seed=5, how_many=4)
    }
    assert len(losses) > 1


def test_two_optimiser_steps_on_one_rollout_follow_the_hand_written_gradient():
    """The second step sees stale log-probs: token by token as the loops say."""
    algorithm = build(GrpoConfig(beta=0.05, delta=2.0))
    start = random_inputs(2, drift=0.0)
    logprobs_NT = start.logprobs_NT.masked_fill(~start.mask_NT, 0.0)
    for _ in range(3):
        inputs = with_gradient(dataclasses.replace(start, logprobs_NT=logprobs_NT))
        outputs = algorithm.loss(inputs)
        outputs.loss.backward()
        loss, grad, _ = reference_loss(inputs, beta=0.05, delta=2.0)
        assert outputs.loss.item() == pytest.approx(loss, rel=1e-10)
        logprobs_NT = logprobs_NT - 3.0 * torch.tensor(grad, dtype=torch.float64)
        assert inputs.logprobs_NT.grad is not None
        torch.testing.assert_close(inputs.logprobs_NT.grad, torch.tensor(grad, dtype=torch.float64))
    assert reference_loss(inputs)[2]["clip_high"] > 0


def test_first_step_of_a_rollout_has_ratio_one():
    start = random_inputs(2, drift=0.0)
    sums = build(GrpoConfig()).loss(start).sums
    assert sums["ratio"][0] == sums["ratio"][1]
    assert sums["kl_old"][0] == sums["clip_low"][0] == sums["clip_high"][0] == 0


def test_zero_advantage_gives_exactly_zero():
    inputs = random_inputs(4)
    inputs = dataclasses.replace(inputs, advantages_N=torch.zeros_like(inputs.advantages_N))
    inputs = with_gradient(inputs)
    algorithm = build(GrpoConfig(delta=3.0))
    assert algorithm.skips_zero_advantage
    outputs = algorithm.loss(inputs)
    outputs.loss.backward()
    assert outputs.loss.item() == 0.0
    assert inputs.logprobs_NT.grad is not None
    assert inputs.logprobs_NT.grad.count_nonzero() == 0


@pytest.mark.parametrize("settings", [{"beta": 0.1}, {"entropy_coef": 0.1}])
def test_rows_without_advantage_train_where_something_else_does(settings):
    algorithm = build(GrpoConfig(**settings))
    assert not algorithm.skips_zero_advantage
    assert algorithm.needs_reference == ("beta" in settings)
    assert algorithm.needs_entropy == ("entropy_coef" in settings)


def test_rows_of_weight_zero_change_neither_loss_nor_metrics():
    """So a backend may leave them out."""
    whole = random_inputs(7, rows=8)
    weights_N = whole.weights_N.clone()
    weights_N[[1, 4]] = 0.0
    algorithm = build(GrpoConfig(beta=0.1))
    with_them = algorithm.loss(dataclasses.replace(whole, weights_N=weights_N))
    without = algorithm.loss(part_of(whole, [0, 2, 3, 5, 6, 7]))
    torch.testing.assert_close(with_them.loss, without.loss)
    for name, (numerator, denominator) in without.sums.items():
        torch.testing.assert_close(with_them.sums[name][0], numerator)
        torch.testing.assert_close(with_them.sums[name][1], denominator)


def test_everything_masked():
    inputs = random_inputs(1)
    inputs = with_gradient(dataclasses.replace(inputs, mask_NT=torch.zeros_like(inputs.mask_NT)))
    outputs = build(GrpoConfig(beta=0.1, entropy_coef=0.1)).loss(inputs)
    outputs.loss.backward()
    assert outputs.loss.item() == 0.0
    assert all(float(value) == 0 for pair in outputs.sums.values() for value in pair)


def test_only_what_was_given_is_measured():
    inputs = dataclasses.replace(
        random_inputs(1), ref_logprobs_NT=None, entropy_NT=None, sampler_logprobs_NT=None
    )
    algorithm = build(GrpoConfig())
    assert set(algorithm.loss(inputs).sums) == {
        "policy_loss",
        "ratio",
        "clip_low",
        "clip_high",
        "kl_old",
    }
    full = algorithm.loss(random_inputs(1)).sums
    assert {"kl", "entropy", "sampler_gap"} < set(full)
    with pytest.raises(ValueError, match="reference policy"):
        build(GrpoConfig(beta=0.1)).loss(inputs)
    with pytest.raises(ValueError, match="no entropies"):
        build(GrpoConfig(entropy_coef=0.1)).loss(inputs)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_tokens_that_the_correction_leaves_out_are_counted(level):
    """Counted token by token; the same whether denominators shrink with them or not."""
    inputs = random_inputs(3)
    noise_NT = torch.randn(inputs.mask_NT.shape, generator=torch.Generator().manual_seed(1))
    inputs = dataclasses.replace(inputs, sampler_logprobs_NT=inputs.old_logprobs_NT + noise_NT)
    weigh = partial(importance_weight, level=level, cut="mask", cap=1.5, floor=0.6)
    rejected = Rejection(level=level, cap=1.5, floor=0.6)
    drawn = lost = 0
    rows = (inputs.old_logprobs_NT, inputs.sampler_logprobs_NT, inputs.mask_NT, inputs.weights_N)
    for old, sampler, mask, weight in zip(*rows, strict=True):
        if not weight:
            continue
        gaps = [float(a - b) for a, b, on in zip(old, sampler, mask, strict=True) if on]
        judged = gaps if level == "token" else [sum(gaps)] * len(gaps)
        drawn += len(gaps)
        lost += sum(not 0.6 <= math.exp(gap) <= 1.5 for gap in judged)
    assert 0 < lost < drawn
    for correction in (weigh, rejected):
        algorithm = dataclasses.replace(build(GrpoConfig()), correction=correction)
        over, under = algorithm.loss(inputs).sums["rejected"]
        assert (float(over), float(under)) == (lost, drawn)
    truncated = partial(importance_weight, level=level, cut="truncate", cap=1.5)
    kept = dataclasses.replace(build(GrpoConfig()), correction=truncated).loss(inputs).sums
    assert float(kept["rejected"][0]) == 0


def make_rollout(finishes: list[list[str]]) -> Rollout:
    prompt = Prompt(id="a", index=0, row={}, messages=())
    return Rollout(
        prompts=(prompt,) * len(finishes),
        prompt_ids=((1,),) * len(finishes),
        completions=tuple(
            tuple(Completion(token_ids=(1, 2), text="", finish=f) for f in group)
            for group in finishes
        ),
        sampling=Sampling(group=len(finishes[0]), max_tokens=2),
    )


ROLLOUT = make_rollout([["stop", "length", "stop"], ["stop", "stop", "stop"]])
SCORES = Scores(rewards={}, components={}, total=[[1.0, 0.0, None], [0.1, 0.1, 0.1]])


def advantages_of(**settings) -> Advantages:
    return build(GrpoConfig(**settings)).advantages(ROLLOUT, SCORES)


def test_advantages_of_scores():
    advantages = advantages_of()
    half = 0.5 / (math.sqrt(0.5) + 1e-4)
    assert advantages.advantages_PG.tolist()[0] == pytest.approx([half, -half, 0.0])
    assert advantages.advantages_PG.tolist()[1] == [0.0] * 3
    assert advantages.advantages_PG.dtype == torch.float32
    assert advantages.valid_PG.tolist() == [[True, True, False], [True] * 3]
    assert advantages.dead_P.tolist() == [False, True]


def test_select_keeps_the_denominator_and_gives_weight_zero_to_what_adds_nothing():
    selection = build(GrpoConfig()).select(ROLLOUT, SCORES, advantages_of())
    assert selection.rows == tuple(ROLLOUT.rows())
    assert selection.weights == (1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    assert selection.denominator == 6


def test_select_gives_every_row_its_weight_where_the_divergence_trains_too():
    selection = build(GrpoConfig(beta=0.1)).select(ROLLOUT, SCORES, advantages_of())
    assert selection.weights == (1.0,) * 6


def test_truncated_rows_leave_but_count_in_the_row_denominator():
    selection = build(GrpoConfig(mask_truncated=True)).select(ROLLOUT, SCORES, advantages_of())
    assert (0, 1) not in selection.rows
    assert len(selection.rows) == 5
    assert selection.denominator == 6


def test_drop_dead_leaves_every_denominator():
    selection = build(GrpoConfig(drop_dead=True)).select(ROLLOUT, SCORES, advantages_of())
    assert selection.rows == ((0, 0), (0, 1))
    assert selection.weights == (1.0, 1.0)
    assert selection.denominator == 2


def test_nothing_selected():
    scores = dataclasses.replace(SCORES, total=[[1.0] * 3, [None] * 3])
    algorithm = build(GrpoConfig(drop_dead=True))
    advantages = algorithm.advantages(ROLLOUT, scores)
    assert advantages.dead_P.all()
    selection = algorithm.select(ROLLOUT, scores, advantages)
    assert selection.rows == ()
    assert selection.denominator == 0
