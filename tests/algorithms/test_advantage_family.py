"""Relatives of the group z-score: golden values, edges, and agreement with TRL's and verl's own code."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from grpokit.algorithms import Composition, group_centred, group_zscore
from grpokit.algorithms import advantage_parts as parts
from grpokit.algorithms.advantage import kept_zscore, leave_one_out, length_weighted, pass_at_k
from grpokit.algorithms.advantage_batch import (
    batch_std,
    beta_normalised,
    fit_beta,
    reinforce_baseline,
)
from grpokit.algorithms.advantage_config import (
    BatchStdConfig,
    BetaConfig,
    NormaliseConfig,
    PassAtKConfig,
    PowerConfig,
    WhitenConfig,
)
from grpokit.algorithms.aggregate import normalised_sum, power_scores
from grpokit.algorithms.grpo import build
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.errors import ComponentError
from grpokit.spec.flow import Scores


def named(value: object) -> str:
    """The same in every process, which an address is not."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


EIGHT = [1.0, 0, 0, 0, 1, 0, 0, 0]
ALL = [
    parts.batch_std(BatchStdConfig(std_eps=0.0)),
    parts.rloo_baseline(),
    parts.reinforce_baseline(WhitenConfig(variance_eps=0.0)),
    parts.beta_normalised(BetaConfig(low=-10, high=10)),
    parts.beta_normalised(BetaConfig(low=-10, high=10, alpha=3.0, beta=0.5)),
    parts.pass_at_k(PassAtKConfig(std_eps=0.0)),
    parts.pass_at_k(PassAtKConfig(scale=False)),
]


def table(*groups):
    """totals_PG and valid_PG; None is a completion without a score, with rubbish in its place."""
    totals = [[9.0 if value is None else float(value) for value in group] for group in groups]
    valid = [[value is not None for value in group] for group in groups]
    return torch.tensor(totals, dtype=torch.float64), torch.tensor(valid)


def draw(seed, prompts=4, group=5):
    """Totals in steps of 1/8 from 0 to 1, ragged token counts; every fifth draw has a dead group."""
    rng = torch.Generator().manual_seed(seed)
    totals_PG = torch.randint(0, 9, (prompts, group), generator=rng).double() / 8
    if seed % 5 == 0:
        totals_PG[1] = 0.375
    lengths_PG = torch.randint(1, 8, (prompts, group), generator=rng)
    return totals_PG, torch.ones(prompts, group, dtype=torch.bool), lengths_PG


# Golden values and closed forms.


def test_rloo():
    """8/7 of the centred .75 and -.25, and the distance from the mean of the others."""
    found = leave_one_out(*table(EIGHT))[0].tolist()
    assert found == pytest.approx([6 / 7 if reward else -2 / 7 for reward in EIGHT])
    found = leave_one_out(*table([1, 4, None, 10]))[0].tolist()
    assert found == pytest.approx([1 - 7, 4 - 5.5, 0, 10 - 2.5])


def test_batch_std():
    """Deviation of the ten totals that there are, not of the group's."""
    groups = [EIGHT, [1, 1, 1, 1, None, None, None, None]]
    every = torch.tensor([*EIGHT, 1, 1, 1, 1], dtype=torch.float64)
    found_PG = batch_std(*table(*groups), std_eps=0.0)
    expected = [(0.75 if reward else -0.25) / float(every.std()) for reward in EIGHT]
    assert found_PG[0].tolist() == pytest.approx(expected)
    assert found_PG[1].tolist() == [0.0] * 8


def test_batch_std_of_one_group_is_the_group_zscore():
    torch.testing.assert_close(batch_std(*table(EIGHT)), group_zscore(*table(EIGHT)))


def test_reinforce_baseline_is_white_over_the_batch():
    groups = [EIGHT, [3, 1, 2, 5, None, 1, 1, 1]]
    totals_PG, valid_PG = table(*groups)
    found_PG = reinforce_baseline(totals_PG, valid_PG)
    kept = found_PG[valid_PG]
    assert float(kept.mean()) == pytest.approx(0, abs=1e-12)
    assert float(kept.var()) == pytest.approx(1)
    centred = group_centred(totals_PG, valid_PG)
    torch.testing.assert_close(found_PG, centred / centred[valid_PG].std())


def test_pass_at_k():
    found_PG = pass_at_k(*table([0.25, 1, None, 0.5], [1, 1, 0, 0], [None, 3, None, None]))
    std = float(torch.tensor([0.25, 1, 0.5], dtype=torch.float64).std())
    assert found_PG[0].tolist() == pytest.approx([0, 0.5 / std, 0, 0], abs=1e-5)
    assert not found_PG[1:].any()
    assert pass_at_k(*table([0.25, 1, None, 0.5]), scale=False)[0].tolist() == [0, 0.5, 0, 0]


@pytest.mark.parametrize("correct", range(1, 8))
def test_beta_normalised_holds_reinforce_and_grpo(correct):
    totals_PG, valid_PG = table([1.0] * correct + [0.0] * (8 - correct))
    flat_PG = beta_normalised(totals_PG, valid_PG, alpha=1.0, beta=1.0)
    torch.testing.assert_close(flat_PG, group_centred(totals_PG, valid_PG))
    round_PG = beta_normalised(totals_PG, valid_PG, alpha=1.5, beta=1.5)
    grpo_PG = group_zscore(totals_PG, valid_PG, std_ddof=0, std_eps=0.0)
    torch.testing.assert_close(round_PG * 2.546479, grpo_PG, rtol=1e-6, atol=1e-6)


def test_beta_parameters_by_hand():
    """Means .2, .4, .6: mean .4, variance .04, a + b = 5, so a = 2, b = 3."""
    found = fit_beta(torch.tensor([0.2, 0.4, 0.6], dtype=torch.float64))
    assert [float(value) for value in found] == pytest.approx([1 + 2 / 3, 2.0])
    for means in ([0.3], [0.3, 0.3, 0.3], [], [0.0, 1.0]):
        found = fit_beta(torch.tensor(means, dtype=torch.float64))
        assert [float(value) for value in found] == [1.0, 1.0]


def test_beta_normalised_fits_the_batch_and_maps_the_range():
    totals_PG, valid_PG = table([1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0])
    alpha, beta = (float(value) for value in fit_beta(totals_PG.mean(-1)))
    fitted_PG = beta_normalised(totals_PG, valid_PG)
    given_PG = beta_normalised(totals_PG, valid_PG, alpha=alpha, beta=beta)
    torch.testing.assert_close(fitted_PG, given_PG)
    mean_P = totals_PG.mean(-1)
    density_P = torch.distributions.Beta(alpha, beta).log_prob(mean_P).exp()
    expected_PG = (totals_PG - mean_P[:, None]) / density_P[:, None]
    torch.testing.assert_close(fitted_PG, expected_PG)
    moved_PG = beta_normalised(totals_PG * 4 - 3, valid_PG, low=-3, high=1)
    torch.testing.assert_close(moved_PG, fitted_PG)


def test_beta_normalised_caps_the_factor():
    totals_PG, valid_PG = table([1.0] + [0.0] * 999)
    found_PG = beta_normalised(totals_PG, valid_PG, alpha=9.0, beta=1.0, cap=50.0)
    assert float(found_PG[0, 0]) == pytest.approx(50 * 0.999)


def test_beta_normalised_refuses_totals_outside_the_range():
    with pytest.raises(ComponentError, match=r"a total of 1\.5, outside 0 to 1") as caught:
        beta_normalised(*table([0, 1.5, 1]))
    assert "set low and high" in caught.value.remedy
    beta_normalised(*table([0, None, 1]))


@pytest.mark.parametrize("settings", [{"alpha": 1.0}, {"beta": 2.0}, {"low": 1.0}, {"cap": 0.0}])
def test_beta_settings_that_make_no_sense(settings):
    with pytest.raises(ValidationError):
        BetaConfig(**settings)


def test_gfpo_golden():
    """r and L of six, three shortest; by efficiency only right answers are left, so nothing is."""
    totals_PG = torch.tensor([[1.0, 1, 0, 0, 1, 0]], dtype=torch.float64)
    shortest = torch.tensor([[False, True, True, False, False, True]])
    found = kept_zscore(totals_PG, shortest)[0].tolist()
    assert found == pytest.approx([0, 1.414214, -0.707107, 0, 0, -0.707107], abs=1e-6)
    efficient = torch.tensor([[True, True, False, False, True, False]])
    assert kept_zscore(totals_PG, efficient)[0].tolist() == [0.0] * 6


# Edges that hold for all of them.


@pytest.mark.parametrize("part", ALL, ids=named)
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1 / 3, -7.3])
def test_equal_totals_give_exactly_zero(part, reward):
    assert part(*table([reward] * 7)).tolist() == [[0.0] * 7]
    assert part(*table([reward] * 7, [reward] * 7)).tolist() == [[0.0] * 7] * 2


@pytest.mark.parametrize("part", ALL, ids=named)
@pytest.mark.parametrize("dead", [[0.1 + 0.2, 0.3, 0.3], [None, 5, None], [None] * 3, [2, 2, None]])
def test_dead_groups_stay_exactly_zero_beside_live_ones(part, dead):
    found_PG = part(*table([1, 2, 4], dead, [-3, 0, None]))
    assert found_PG[1].tolist() == [0.0] * 3
    assert found_PG[0].any()
    assert found_PG[2].any()
    assert float(found_PG[2, 2]) == 0
    assert found_PG.isfinite().all()


@pytest.mark.parametrize("part", ALL, ids=named)
def test_groups_of_one_and_no_groups(part):
    assert part(*table([3.0], [4.0])).tolist() == [[0.0], [0.0]]
    empty_PG = torch.zeros(0, 4, dtype=torch.float64)
    assert part(empty_PG, empty_PG.bool()).shape == (0, 4)


@pytest.mark.parametrize("part", ALL, ids=named)
def test_an_unscored_completion_changes_nothing(part):
    with_PG = part(*table([1, None, 2, 4], [0, 3, 3, None]))
    totals_PG, valid_PG = table([1, None, 2, 4], [0, 3, 3, None])
    other_PG = part(totals_PG.masked_fill(~valid_PG, -5.0), valid_PG)
    assert torch.equal(with_PG, other_PG)


@pytest.mark.parametrize("part", ALL, ids=named)
def test_the_best_gets_most_and_the_worst_nothing_good(part):
    for seed in range(20):
        totals_PG, valid_PG, _ = draw(seed)
        order_PG = totals_PG.argsort(-1)
        sorted_PG = part(totals_PG, valid_PG).gather(-1, order_PG)
        assert (sorted_PG[:, -1:] >= sorted_PG - 1e-12).all()
        assert (sorted_PG[:, 0] <= 1e-12).all()


NO_ROLLOUT: Any = None  # these parts look at scores only


def test_parts_fit_into_grpo():
    scores = Scores(
        rewards={"a": [[1.0, 0, 0.5]], "b": [[3, None, 1]]}, components={}, total=[[1, 0, 0.5]]
    )
    grpo = build(GrpoConfig())
    assert isinstance(grpo, Composition)
    for part in ALL:
        assert grpo.replace("advantage", part).advantages(NO_ROLLOUT, scores).advantages_PG.any()
    for part in (
        parts.normalise_then_sum(NormaliseConfig(weights={"a": 1.0, "b": 0.5})),
        parts.power(PowerConfig()),
    ):
        assert grpo.replace("aggregate", part).advantages(NO_ROLLOUT, scores).advantages_PG.any()


# Axis aggregate.


def test_normalise_then_sum():
    """Reward b has a thousand times the range of a, and the same say. Its abstention adds 0."""
    scores = Scores(
        rewards={"a": [[1, 0, 1, 0]], "b": [[0, 1000, None, 500]], "watched": [[9, 1, 2, 3]]},
        components={},
        total=[[1, 1000, 1, None]],
    )
    totals_PG, valid_PG = normalised_sum(scores, weights={"a": 1.0, "b": 2.0}, std_eps=0.0)
    a = 1 / math.sqrt(3)
    b = 1 / math.sqrt(2)
    assert totals_PG[0].tolist() == pytest.approx([a - 2 * b, -2 * a + 2 * b, a, 0])
    assert valid_PG.tolist() == [[True, True, True, False]]
    named = replace(scores, weights={"a": 1.0, "b": 2.0, "watched": 0.0})
    assert normalised_sum(named, std_eps=0.0)[0].equal(totals_PG)
    with pytest.raises(ComponentError, match="do not exist: c") as caught:
        normalised_sum(scores, weights={"a": 1.0, "c": 1.0})
    assert "a, b, watched" in caught.value.remedy


def test_power():
    scores = Scores(rewards={}, components={}, total=[[0.0, 0.5, 1.0, -0.5, None]])
    totals_PG, valid_PG = power_scores(scores)
    assert totals_PG[0].tolist() == [0, 0.0625, 1, -0.0625, 0]
    assert valid_PG.tolist() == [[True, True, True, True, False]]
    assert power_scores(scores, exponent=1.0)[0][0].tolist() == [0, 0.5, 1, -0.5, 0]


# Agreement with other trainers' own code.


@pytest.fixture(scope="module")
def verl():
    """verl's own functions, where it is installed."""
    return pytest.importorskip(
        "verl.trainer.ppo.core_algos", reason="verl is not installed", exc_type=ImportError
    )


def for_verl(totals_PG, lengths_PG):
    """Token rewards with the total on the last token, the mask and the group of each row."""
    import numpy as np

    tokens = int(lengths_PG.max())
    lengths_N = lengths_PG.reshape(-1)
    mask_NT = (torch.arange(tokens) < lengths_N[:, None]).double()
    rewards_NT = torch.zeros_like(mask_NT)
    rewards_NT[torch.arange(len(lengths_N)), lengths_N - 1] = totals_PG.reshape(-1)
    index = np.arange(totals_PG.shape[0]).repeat(totals_PG.shape[1])
    return rewards_NT, mask_NT, index


def assert_same(found_PG, theirs_NT, mask_NT, tolerance=1e-6):
    """Whether there was any signal to compare."""
    expected_NT = found_PG.reshape(-1, 1) * mask_NT
    torch.testing.assert_close(
        expected_NT, theirs_NT.double() * mask_NT, rtol=tolerance, atol=tolerance
    )
    return bool(expected_NT.any())


VERL = [
    (
        "compute_grpo_outcome_advantage",
        {},
        lambda r, v, _: group_zscore(r, v, std_eps=1e-6),
    ),
    (
        "compute_grpo_outcome_advantage",
        {"norm_adv_by_std_in_grpo": False},
        lambda r, v, _: group_centred(r, v),
    ),
    ("compute_rloo_outcome_advantage", {}, lambda r, v, _: leave_one_out(r, v)),
    ("compute_rloo_vectorized_outcome_advantage", {}, lambda r, v, _: leave_one_out(r, v)),
    ("compute_opo_outcome_advantage", {}, length_weighted),
    (
        "compute_grpo_passk_outcome_advantage",
        {"config": {"norm_adv_by_std_in_grpo": True}},
        lambda r, v, _: pass_at_k(r, v),
    ),
    (
        "compute_grpo_passk_outcome_advantage",
        {"config": {"norm_adv_by_std_in_grpo": False}},
        lambda r, v, _: pass_at_k(r, v, scale=False),
    ),
]


@pytest.mark.parametrize(("name", "settings", "ours"), VERL, ids=named)
def test_group_advantages_agree_with_verl(verl, name, settings, ours):
    alive = 0
    for seed in range(50):
        totals_PG, valid_PG, lengths_PG = draw(seed)
        rewards_NT, mask_NT, index = for_verl(totals_PG, lengths_PG)
        theirs_NT, _ = getattr(verl, name)(rewards_NT, mask_NT, index, **settings)
        alive += assert_same(ours(totals_PG, valid_PG, lengths_PG), theirs_NT, mask_NT)
    assert alive > 40


@pytest.mark.parametrize("ragged", [False, True])
def test_reinforce_baseline_agrees_with_verl(verl, ragged):
    """verl counts tokens: the same as counting rows where all have one length. No dead groups."""
    alive = 0
    for seed in range(50):
        totals_PG, valid_PG, lengths_PG = draw(1 + 5 * seed)
        if not ragged:
            lengths_PG = torch.ones_like(lengths_PG)
        rewards_NT, mask_NT, index = for_verl(totals_PG, lengths_PG)
        theirs_NT, _ = verl.compute_reinforce_plus_plus_baseline_outcome_advantage(
            rewards_NT, mask_NT, index
        )
        lengths = {"lengths_PG": lengths_PG} if ragged else {}
        alive += assert_same(reinforce_baseline(totals_PG, valid_PG, **lengths), theirs_NT, mask_NT)
    assert alive > 40


def test_gdpo_agrees_with_verl(verl):
    """Each reward normalised, weighted, summed, whitened. verl does this in float32."""
    weights = {"a": 1.0, "b": 0.25}
    alive = 0
    for seed in range(50):
        a_PG, _, _ = draw(1 + 5 * seed)
        b_PG = 16 * draw(2 + 5 * seed)[0]
        rewards_NT, mask_NT, index = for_verl(a_PG, torch.ones_like(a_PG).long())
        theirs_NT, _ = verl.compute_gdpo_outcome_advantage(
            rewards_NT,
            mask_NT,
            index,
            config={"gdpo_reward_keys": list(weights), "gdpo_reward_weights": weights.values()},
            non_tensor_batch={"a": a_PG.reshape(-1).numpy(), "b": b_PG.reshape(-1).numpy()},
            batch={"prompts": torch.zeros(20, 1), "attention_mask": torch.ones(20, 2).long()},
        )
        scores = Scores(
            rewards={"a": a_PG.tolist(), "b": b_PG.tolist()}, components={}, total=a_PG.tolist()
        )
        found_PG = reinforce_baseline(*normalised_sum(scores, weights=weights, std_eps=1e-6))
        alive += assert_same(found_PG, theirs_NT, mask_NT, tolerance=5e-6)
    assert alive > 40
