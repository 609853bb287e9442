"""Parts of the loss agree with verl 0.9.1's real code, in float64, on fifty random draws each.

verl's functions are called with the draws as they are; without verl the tests are skipped. verl means
over rows that have a token, so ``totals.rows`` counts these here. It bounds log-ratios at 20, which
no draw exceeds.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch

from grpokit.algorithms import (
    KlPenalty,
    cispo,
    clip_ratio,
    constant_length,
    dual_clip,
    gmpo,
    importance_weight,
    kl_cov,
    sapo,
    sequence_mean,
    sequence_ratio,
    sequence_sum,
    sequence_token_ratio,
    token_mean,
)
from grpokit.algorithms.correction import Rejection
from loss_draws import DRAWS, MAX_TOKENS, ROWS, check, compose, draw, inputs, ours

pytest.importorskip(
    "verl.trainer.ppo.core_algos", reason="verl is not installed", exc_type=ImportError
)


@pytest.fixture(scope="module")
def core():
    from verl.trainer.ppo import core_algos

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield core_algos
    torch.set_num_threads(threads)


def their_loss(core, found, name, mode, weight_NT=None, **settings):
    """Loss and gradient of verl's policy loss of that name."""
    from verl.workers.config import ActorConfig

    config = ActorConfig(
        strategy="fsdp",
        rollout_n=2,
        ppo_micro_batch_size_per_gpu=1,
        **settings,
    )
    if mode == "seq-mean-token-sum-norm":
        config.global_batch_info["loss_scale_factor"] = MAX_TOKENS
    logprobs_NT = found.logprobs_NT.clone().requires_grad_()
    loss, _ = core.get_policy_loss_fn(name)(
        old_log_prob=found.old_NT,
        log_prob=logprobs_NT,
        advantages=found.advantages_N[:, None].expand_as(found.old_NT),
        response_mask=found.mask_NT,
        loss_agg_mode=mode,
        config=config,
        rollout_is_weights=weight_NT,
    )
    (gradient_NT,) = torch.autograd.grad(loss, logprobs_NT)
    return loss.detach(), gradient_NT


def rows_of(found) -> int:
    return int((found.mask_NT.sum(-1) > 0).sum())


WIDE = {"clip_ratio_low": 0.2, "clip_ratio_high": 0.28}
DUAL = partial(dual_clip, epsilon=0.2, epsilon_high=0.28)
CLIP = partial(clip_ratio, epsilon=0.2, epsilon_high=0.28)
MODES = {
    "token-mean": token_mean,
    "seq-mean-token-mean": sequence_mean,
    "seq-mean-token-sum": sequence_sum,
    "seq-mean-token-sum-norm": constant_length,
}
CASES = {
    "vanilla": (WIDE, {"clip": DUAL}),
    "vanilla, low floor": ({**WIDE, "clip_ratio_c": 1.1}, {"clip": partial(DUAL, floor=1.1)}),
    "gspo": (WIDE, {"clip": CLIP, "ratio": sequence_token_ratio}),
    "gspo as sequence-ratio": (WIDE, {"clip": CLIP, "ratio": sequence_ratio}),
    "cispo": (WIDE, {"clip": partial(cispo, cap=1.28, floor=0.8)}),
    "sapo": (
        {"tau_pos": 1.5, "tau_neg": 2.5},
        {"clip": partial(sapo, temperature_pos=1.5, temperature_neg=2.5)},
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient(core, name, mode):
    """``sapo`` has one aggregation in verl, whatever it is told."""
    settings, parts = CASES[name]
    called = name.split(",")[0].split()[0]
    mode = "seq-mean-token-mean" if called == "sapo" else mode
    algorithm = compose(aggregation=MODES[mode], **parts)
    for seed in DRAWS:
        found = draw(seed)
        expected = their_loss(core, found, called, mode, **settings)
        check(ours(algorithm, inputs(found, rows_of(found))), expected, f"{name}, draw {seed}")


def test_gmpo(core):
    """The mean is over all rows here; rows without tokens add 0."""
    algorithm = compose(clip=partial(gmpo, low=0.2, high=0.28))
    for seed in DRAWS:
        found = draw(seed)
        expected = their_loss(core, found, "geo_mean", "token-mean", **WIDE)
        check(ours(algorithm, inputs(found, ROWS)), expected, f"gmpo, draw {seed}")


@pytest.mark.parametrize("share", [0.0002, 0.3])
def test_kl_cov(core, share):
    """Without rows of advantage 0, which verl may penalise too."""
    from verl.workers.config import PolicyLossConfig

    algorithm = compose(clip=partial(kl_cov, share=share, coefficient=0.7), aggregation=token_mean)
    policy_loss = PolicyLossConfig(kl_cov_ratio=share, ppo_kl_coef=0.7)
    for seed in DRAWS:
        found = draw(seed)
        found.advantages_N[1] = 0.8
        expected = their_loss(core, found, "kl_cov", "token-mean", policy_loss=policy_loss)
        check(ours(algorithm, inputs(found)), expected, f"kl-cov, draw {seed}")


THRESHOLDS = [("truncate", 1.2, None, 1.2), ("mask", 2.0, 0.5, "0.5_2.0")]


@pytest.mark.parametrize(("cut", "cap", "floor", "threshold"), THRESHOLDS)
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_correction(core, level, cut, cap, floor, threshold):
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_weights

    weigh = partial(importance_weight, level=level, cut=cut, cap=cap, floor=floor)
    algorithm = compose(clip=DUAL, correction=weigh, aggregation=token_mean)
    for seed in DRAWS:
        found = draw(seed)
        weight_NT, _ = compute_rollout_correction_weights(
            found.old_NT - found.sampler_NT, found.mask_NT, level, threshold
        )
        mine_NT = weigh(found.old_NT, found.sampler_NT, found.mask_NT)
        torch.testing.assert_close(mine_NT * found.mask_NT, weight_NT)
        expected = their_loss(core, found, "vanilla", "token-mean", weight_NT, **WIDE)
        check(ours(algorithm, inputs(found)), expected, f"{level} {cut}, draw {seed}")


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-mean"])
def test_rejection_that_shrinks_the_denominators(core, level, mode):
    """verl's k1 bounds are of the inverse ratio. What it rejects is masked, for the divergence too."""
    from verl.trainer.ppo.rollout_corr_helper import (
        compute_rollout_correction_weights,
        compute_rollout_rejection_mask,
    )

    cap, floor = 1.25, 0.7
    names = {"token": "token_k1", "sequence": "seq_sum_k1"}
    algorithm = compose(
        clip=DUAL,
        correction=Rejection(level, cap, floor),
        aggregation=MODES[mode],
        regulariser=KlPenalty(0.1, limit=10.0),
    )
    algorithm = dataclasses.replace(algorithm, empty_rows="leave-out")
    rejected = 0
    for seed in DRAWS:
        found = draw(seed)
        log_NT = found.old_NT - found.sampler_NT
        mask_NT, _ = compute_rollout_rejection_mask(
            log_NT, found.mask_NT, names[level], f"{1 / cap}_{1 / floor}"
        )
        if not mask_NT.any():
            continue
        rejected += int((found.mask_NT - mask_NT).sum())
        weight_NT, _ = compute_rollout_correction_weights(log_NT, mask_NT, level, 1e9)
        kept = dataclasses.replace(found, mask_NT=mask_NT)
        loss, gradient_NT = their_loss(core, kept, "vanilla", mode, weight_NT, **WIDE)
        logprobs_NT = found.logprobs_NT.clone().requires_grad_()
        kl = core.agg_loss(core.kl_penalty(logprobs_NT, found.ref_NT, "low_var_kl"), mask_NT, mode)
        expected = (
            loss + 0.1 * kl.detach(),
            gradient_NT + 0.1 * torch.autograd.grad(kl, logprobs_NT)[0],
        )
        check(ours(algorithm, inputs(found, rows_of(found))), expected, f"{level} {seed}")
    assert rejected > 100


@pytest.mark.parametrize(("theirs", "ours_"), [("k1", "k1"), ("k2", "k2"), ("low_var_kl", "k3")])
def test_divergence(core, theirs, ours_):
    """k3 is clamped at 10 in verl, the others are not."""
    penalty = KlPenalty(1.0, ours_, limit=10.0 if ours_ == "k3" else None)
    for seed in DRAWS:
        found = draw(seed)
        found.ref_NT = found.old_NT
        given = inputs(found)
        value_NT = penalty(given, torch.ones_like(found.mask_NT))
        expected_NT = core.kl_penalty(given.logprobs_NT, found.ref_NT, theirs)
        gradients = [
            torch.autograd.grad(kl_NT.sum(), given.logprobs_NT)[0]
            for kl_NT in (value_NT, expected_NT)
        ]
        for mine, their in ((value_NT, expected_NT), gradients):
            torch.testing.assert_close(mine, their, rtol=1e-6, atol=1e-6)
