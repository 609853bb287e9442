"""The small axis files: golden values, and what they do at the edges."""

from __future__ import annotations

import math

import pytest
import torch

from grpokit.algorithms import (
    AXES,
    clip_ratio,
    completion_mask,
    constant_length,
    finished_mask,
    k1,
    k2,
    k3,
    no_correction,
    sequence_mean,
    sequence_ratio,
    token_mean,
    token_mean_local,
    token_ratio,
    total_scores,
    truncated_weight,
)
from grpokit.spec.flow import LossTotals, Scores

LOSSES_NT = torch.tensor([[1.0, 1, 7, 7], [0.5, 0.5, 0.5, 0.5]])
MASK_NT = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])
TOTALS = LossTotals(rows=2, tokens=6, max_tokens=8)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (sequence_mean, 0.75),
        (token_mean, 0.666667),
        (token_mean_local, 0.666667),
        (constant_length, 0.25),
    ],
)
def test_aggregation(function, expected):
    value = function(LOSSES_NT, MASK_NT, torch.ones(2), TOTALS)
    assert float(value) == pytest.approx(expected, abs=1e-6)


def test_local_token_mean_depends_on_the_split_and_equals_the_sequence_mean_for_single_rows():
    shares = [
        token_mean_local(LOSSES_NT[[i]], MASK_NT[[i]], torch.ones(1), TOTALS) for i in range(2)
    ]
    assert float(sum(shares)) == pytest.approx(0.75)


@pytest.mark.parametrize("function", [sequence_mean, token_mean, token_mean_local, constant_length])
def test_aggregation_of_nothing_is_zero(function):
    totals = LossTotals(rows=0, tokens=0, max_tokens=8)
    assert float(function(torch.ones(2, 3), torch.zeros(2, 3), torch.ones(2), totals)) == 0.0


def test_row_without_tokens_counts_in_the_row_mean():
    mask_NT = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]])
    assert float(sequence_mean(LOSSES_NT, mask_NT, torch.ones(2), TOTALS)) == 0.25


def test_clip_higher():
    ratio_NT = torch.tensor([[1.35, 0.70]], dtype=torch.float64)
    for advantage, expected in ((1.0, [1.28, 0.70]), (-1.0, [-1.35, -0.80])):
        clipped = clip_ratio(
            ratio_NT, torch.tensor([[advantage]]).double(), epsilon=0.2, epsilon_high=0.28
        )
        assert clipped.objective_NT[0].tolist() == pytest.approx(expected, abs=1e-12)
        low = [False, advantage < 0]
        high = [advantage > 0, False]
        assert clipped.shares["clip_low"][0].tolist() == low
        assert clipped.shares["clip_high"][0].tolist() == high
        assert set(clipped.shares) == {"clip_low", "clip_high"}


def test_clip_is_symmetric_unless_told_otherwise():
    ratio_NT = torch.tensor([[1.35, 1.15]])
    clipped = clip_ratio(ratio_NT, torch.ones(1, 1))
    assert clipped.objective_NT[0].tolist() == pytest.approx([1.2, 1.15])


def test_two_sided_clip_bounds_what_the_other_two_leave_open():
    ratio_NT, advantages_N1 = torch.tensor([[5.0]]), torch.tensor([[-1.0]])
    assert clip_ratio(ratio_NT, advantages_N1).objective_NT.item() == -5.0
    clipped = clip_ratio(ratio_NT, advantages_N1, delta=1.5)
    assert clipped.objective_NT.item() == -1.5
    assert clipped.shares["clip_delta"].item() is True


def test_clipped_tokens_have_no_gradient():
    ratio_NT = torch.tensor([[1.5, 0.5, 1.1, 1.5, 0.5, 4.0]], requires_grad=True)
    advantages_NT = torch.tensor([[1.0, -1, 1, -1, 1, -1]])
    clipped = clip_ratio(ratio_NT, advantages_NT, delta=2.0)
    (grad,) = torch.autograd.grad(clipped.objective_NT.sum(), ratio_NT)
    assert grad[0].tolist() == [0, 0, 1, -1, 1, 0]


def test_sequence_ratio():
    log_ratio_NT = torch.tensor([[0.1, -0.3, 0.5, 0.0]], dtype=torch.float64)
    mask_NT = torch.tensor([[1.0, 1, 1, 0]], dtype=torch.float64)
    ratio_NT = sequence_ratio(log_ratio_NT, mask_NT)
    assert ratio_NT.shape == log_ratio_NT.shape
    assert ratio_NT[0].tolist() == pytest.approx([1.105171] * 4, abs=1e-6)
    assert sequence_ratio(log_ratio_NT, torch.zeros(1, 4))[0].tolist() == [1.0] * 4


def test_token_ratio():
    log_ratio_NT = torch.tensor([[0.0, math.log(2)]])
    assert token_ratio(log_ratio_NT, torch.ones(1, 2))[0].tolist() == pytest.approx([1.0, 2.0])


def test_kl_estimators():
    ref_NT = torch.tensor([[0.2, -0.3]], dtype=torch.float64)
    logprobs_NT = torch.zeros(1, 2, dtype=torch.float64)
    assert k3(logprobs_NT, ref_NT)[0].tolist() == pytest.approx([0.021403, 0.040818], abs=1e-6)
    assert k1(logprobs_NT, ref_NT)[0].tolist() == pytest.approx([-0.2, 0.3])
    assert k2(logprobs_NT, ref_NT)[0].tolist() == pytest.approx([0.02, 0.045])


def test_gradients_of_kl_estimators_on_average():
    """Under the policy, grad k1 averages 0, grad k2 is that of KL(pi, ref), grad k3 of KL(ref, pi)."""
    torch.manual_seed(0)
    z_V = torch.randn(5, dtype=torch.float64, requires_grad=True)
    ref_V = torch.randn(5, dtype=torch.float64).log_softmax(0)
    log_V = z_V.log_softmax(0)
    p_V = log_V.detach().exp()
    reverse = (log_V.exp() * (log_V - ref_V)).sum()
    forward = (ref_V.exp() * (ref_V - log_V)).sum()

    def grad(value):
        return torch.autograd.grad(value, z_V, retain_graph=True)[0]

    zero = torch.zeros(5, dtype=torch.float64)
    for estimator, target in ((k1, zero), (k2, grad(reverse)), (k3, grad(forward))):
        torch.testing.assert_close(grad((p_V * estimator(log_V, ref_V)).sum()), target)
    for estimator in (k1, k3):
        torch.testing.assert_close((p_V * estimator(log_V, ref_V)).sum(), reverse)


def test_masks():
    mask_NT = torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    truncated_N = torch.tensor([False, True])
    assert completion_mask(mask_NT, truncated_N).tolist() == mask_NT.tolist()
    assert finished_mask(mask_NT, truncated_N).tolist() == [[True, True, False], [False] * 3]


def test_corrections():
    old_NT = torch.tensor([[0.5, 1.0, 0.0]], requires_grad=True)
    sampler_NT = torch.zeros(1, 3)
    weight_NT = truncated_weight(old_NT, sampler_NT, torch.ones(1, 3), cap=2.0)
    assert weight_NT is not None
    assert weight_NT[0].tolist() == pytest.approx([1.648721, 2.0, 1.0], abs=1e-6)
    assert not weight_NT.requires_grad
    assert no_correction(old_NT, sampler_NT, torch.ones(1, 3)) is None
    with pytest.raises(ValueError, match="log-probs of the sampler"):
        truncated_weight(old_NT, None, torch.ones(1, 3))


def test_total_scores_tells_zero_from_none():
    scores = Scores(rewards={}, components={}, total=[[0.0, None], [1, 0.5]])
    totals_PG, valid_PG = total_scores(scores)
    assert totals_PG.tolist() == [[0.0, 0.0], [1.0, 0.5]]
    assert valid_PG.tolist() == [[True, False], [True, True]]
    assert totals_PG.dtype == torch.float64


def test_every_axis_says_what_it_is():
    assert all(text and text[0].islower() for text in AXES.values())
