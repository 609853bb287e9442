"""Choices that frameworks make differently, each by hand: docs/conventions.md."""

from __future__ import annotations

import dataclasses
import math
import warnings
from functools import partial

import pytest
import torch

from grpokit.algorithms import clip_off_policy, constant_length, sequence_ratio, token_ratio
from grpokit.algorithms.advantage_batch import reinforce_baseline
from grpokit.algorithms.correction import Rejection
from grpokit.algorithms.gpg import plain_gradient, scaled_centred
from grpokit.algorithms.ratio import sequence_product, sequence_token_ratio
from grpokit.algorithms.regulariser import KlPenalty, ref_weighted
from grpokit.algorithms.shaping import overlong_penalty
from grpokit.spec.flow import LossTotals
from like_draws import draw, named, ours
from loss_draws import compose
from loss_draws import draw as draw_loss
from loss_draws import inputs as loss_inputs

ONE = torch.ones(1, 2, dtype=torch.float64)


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_the_product_is_the_completions_own_ratio():
    log_NT, mask_NT = row(0.2, -0.5, 9.0), row(1, 1, 0)
    assert sequence_product(log_NT, mask_NT)[0].tolist() == pytest.approx([math.exp(-0.3)] * 3)
    assert sequence_product(log_NT, 0 * mask_NT)[0].tolist() == [1.0] * 3


@pytest.mark.parametrize(
    "level", [token_ratio, sequence_ratio, sequence_token_ratio, sequence_product]
)
def test_beyond_its_bounds_a_ratio_has_no_gradient(level):
    bounded = partial(level, log_max=2.0, log_min=-3.0)
    for value, expected in ((5.0, 2.0), (-9.0, -3.0), (0.5, 0.5)):
        log_NT = torch.tensor([[value]], dtype=torch.float64, requires_grad=True)
        ratio_NT = bounded(log_NT, torch.ones(1, 1))
        (gradient_NT,) = torch.autograd.grad(ratio_NT.sum(), log_NT)
        assert float(ratio_NT.detach()) == pytest.approx(math.exp(expected))
        inside = value == expected
        assert float(gradient_NT) == pytest.approx(math.exp(expected) if inside else 0.0)
    assert float(level(torch.full((1, 1), -500.0), torch.ones(1, 1))) == 0.0


def test_constant_length_with_and_without_the_rows():
    """Eight token losses of 1, a length of 10, four rows: 8/40, and 8/10 without the rows."""
    loss_NT = torch.ones(2, 4, dtype=torch.float64)
    given = (loss_NT, loss_NT, torch.ones(2), LossTotals(rows=4, tokens=8, max_tokens=10))
    assert float(constant_length(*given)) == pytest.approx(0.2)
    assert float(constant_length(*given, denominator="length")) == pytest.approx(0.8)
    step = draw(1)
    loss, _ = ours(named("dr-grpo", denominator="length"), step)
    assert float(loss) == pytest.approx(12 * float(ours(named("dr-grpo"), step)[0]))


def test_the_references_share_of_the_divergence():
    """OpenPipe's term: exp(ref) (ref - new)."""
    found_NT = ref_weighted(row(math.log(0.2), -1.0), row(math.log(0.5), -1.0))
    assert found_NT[0].tolist() == pytest.approx([0.5 * math.log(2.5), 0.0])
    given = dataclasses.replace(
        loss_inputs(draw_loss(0)), logprobs_NT=row(-1.0), ref_logprobs_NT=row(-2.0)
    )
    penalty_NT = KlPenalty(3.0, "ref-weighted")(given, row(1.0))
    assert float(penalty_NT) == pytest.approx(-3 * math.exp(-2))


def test_rows_without_a_token_count_or_not():
    """Three quarters of the rows have tokens: the mean over those is 4/3 of the mean over all."""
    step = draw(4)
    share = float((step.trained_NT.sum(-1) > 0).double().mean())
    assert share < 1
    count = named("grpo", mask_truncated=True, beta=0.1)
    leave = named("grpo", mask_truncated=True, beta=0.1, empty_rows="leave-out")
    for all_rows, some_rows in zip(ours(count, step), ours(leave, step), strict=True):
        torch.testing.assert_close(all_rows, some_rows * share)


def test_gpg_scales_by_what_counts():
    """Two groups of four, one of them dead: 8/4. Of its rewards verl counts seven: 8/7."""
    totals_PG = torch.tensor([[1.0, 0.0, 2.0, 1.0], [3.0] * 4], dtype=torch.float64)
    valid_PG = torch.ones_like(totals_PG, dtype=torch.bool)
    found_PG = scaled_centred(totals_PG, valid_PG)
    assert found_PG.tolist() == [[0.0, -2.0, 2.0, 0.0], [0.0] * 4]
    found_PG = scaled_centred(totals_PG, valid_PG, nonzero="rewards")
    assert found_PG[0].tolist() == pytest.approx([0.0, -8 / 7, 8 / 7, 0.0])
    valid_PG[0, 0] = False
    assert scaled_centred(totals_PG, valid_PG)[0].tolist() == pytest.approx([0, -7 / 3, 7 / 3, 0])
    for nonzero in ("advantages", "rewards"):
        assert not scaled_centred(0 * totals_PG, valid_PG, nonzero=nonzero).any()
    assert scaled_centred(totals_PG[:0], valid_PG[:0]).shape == (0, 4)


def test_gpg_has_no_ratio():
    given = loss_inputs(draw_loss(2))
    advantages_N1 = given.advantages_N.unsqueeze(-1)
    clipped = plain_gradient(torch.full((1, 1), 7.0), advantages_N1, given)
    torch.testing.assert_close(clipped.objective_NT, advantages_N1 * given.logprobs_NT)


def test_drift_of_the_trainer_or_of_the_sampler():
    """The policy left since the update began, the sampler agrees with its start: only one cuts."""
    found = draw_loss(1)
    given = dataclasses.replace(
        loss_inputs(found),
        logprobs_NT=found.old_NT - 1.0,
        sampler_logprobs_NT=found.old_NT,
        advantages_N=-torch.ones(6, dtype=torch.float64),
    )
    ratio_NT = torch.full_like(found.old_NT, 0.9)
    advantages_N1 = given.advantages_N.unsqueeze(-1)
    now = clip_off_policy(ratio_NT, advantages_N1, given, threshold=0.5)
    old = clip_off_policy(ratio_NT, advantages_N1, given, threshold=0.5, drift="old")
    assert now.shares["off_policy"][:-1].all()
    assert not old.shares["off_policy"].any()


def test_a_dead_group_is_shifted_or_not():
    totals_PG = torch.tensor([[0.0, 1.0], [2.0, 2.0]], dtype=torch.float64)
    lengths_PG = torch.tensor([[1, 3], [2, 2]])
    valid_PG = torch.ones(2, 2, dtype=torch.bool)
    given = {"lengths_PG": lengths_PG, "variance_eps": 0.0}
    values = torch.tensor([-0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0], dtype=torch.float64)
    shift = float(-values.mean() / values.std())
    assert reinforce_baseline(totals_PG, valid_PG, **given)[1].tolist() == [0.0, 0.0]
    found_PG = reinforce_baseline(totals_PG, valid_PG, **given, shift_dead=True)
    assert found_PG[1].tolist() == pytest.approx([shift, shift])
    found_PG = reinforce_baseline(totals_PG[1:], valid_PG[1:], variance_eps=0.0, shift_dead=True)
    assert found_PG.tolist() == [[0.0, 0.0]]


def test_rejection_of_everything_is_finite():
    found = draw_loss(3)
    algorithm = compose(correction=Rejection("sequence", cap=1e-9), regulariser=KlPenalty(0.1))
    for leave in ("count", "leave-out"):
        loss = dataclasses.replace(algorithm, empty_rows=leave).loss(loss_inputs(found)).loss
        assert float(loss.detach()) == 0.0


def test_the_soft_overlong_punishment_is_trls():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rewards = pytest.importorskip("trl.rewards", exc_type=ImportError)
    punish = rewards.get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=20)
    lengths = list(range(1, 121))
    expected = punish([[0] * length for length in lengths])
    assert overlong_penalty(torch.tensor([lengths]), 100, 20)[0].tolist() == pytest.approx(expected)
    assert min(expected) < -0.9
