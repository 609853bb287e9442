"""``like: verl`` gives the numbers of verl 0.9.1's real code, from rewards to loss and gradient.

verl's functions are called with their own defaults: the advantage estimator, the policy loss, and the
divergence and the entropy bonus with verl's way of adding them (``verl.workers.utils.losses.ppo_loss``). What stands in the
recipe beside ``like`` is on both sides: clip ranges, beta, and that truncated completions do not train.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from like_draws import ROWS, SPECS, G, P, Step, check, differs, draw, named, ours

pytest.importorskip(
    "verl.trainer.ppo.core_algos", reason="verl is not installed", exc_type=ImportError
)

DRAWS = range(50)
BETA = 0.05
ENTROPY = 0.01
COMMON = {"beta": BETA, "entropy_coef": ENTROPY, "mask_truncated": True}
WIDE = {"epsilon": 0.2, "epsilon_high": 0.28}
THEIR_WIDE = {"clip_ratio_low": 0.2, "clip_ratio_high": 0.28}
NORM = {"norm_adv_by_std_in_grpo": False}

CASES = {
    # ours: recipe settings; verl: loss, aggregation that is no default, estimator, actor's settings
    "grpo": ({}, "vanilla", None, "grpo", {}),
    "grpo, a floor out of reach": (
        {"dual_clip": 1e12},
        "vanilla",
        None,
        "grpo",
        {"clip_ratio_c": 1e12},
    ),
    "dapo": ({}, "vanilla", None, "grpo", {"clip_ratio_high": 0.28}),
    "dr-grpo": ({}, "vanilla", "seq-mean-token-sum-norm", "dr_grpo", {}),
    "gspo": (WIDE, "gspo", None, "grpo", THEIR_WIDE),
    "gspo, as the trainer calls it": (
        {**WIDE, "empty_rows": "count"},
        "gspo",
        None,
        "grpo",
        THEIR_WIDE,
    ),
    "gspo-token": (WIDE, "gspo", None, "grpo", THEIR_WIDE),
    "cispo": ({}, "cispo", None, "grpo", {}),
    "sapo": ({}, "sapo", None, "grpo", {}),
    "gmpo": ({}, "geo_mean", None, "grpo", {"clip_ratio_low": 0.4, "clip_ratio_high": 0.4}),
    "rloo": ({}, "vanilla", None, "rloo", {}),
    "reinforce-pp-baseline": ({}, "vanilla", None, "reinforce_plus_plus_baseline", {}),
    "gpg": ({}, "gpg", None, "gpg", {}),
    "opo": ({}, "vanilla", None, "opo", {}),
}
DEFAULT_MODE = {"gspo": "seq-mean-token-mean", "sapo": "seq-mean-token-mean"}


@pytest.fixture(scope="module")
def core():
    from verl.trainer.ppo import core_algos

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield core_algos
    torch.set_num_threads(threads)


def their_advantages(core, step: Step, estimator: str):
    """A tensor of N rows and T tokens, from the whole completions."""
    rewards_NT = torch.zeros_like(step.mask_NT)
    lengths_N = step.mask_NT.sum(-1).long()
    rewards_NT[torch.arange(ROWS), lengths_N - 1] = torch.tensor(
        step.rewards, dtype=torch.float64
    ).reshape(-1)
    settings = NORM if estimator == "dr_grpo" else {}
    estimate = core.get_adv_estimator_fn(estimator.removeprefix("dr_"))
    advantages_NT, _ = estimate(
        token_level_rewards=rewards_NT,
        response_mask=step.mask_NT,
        index=np.arange(P).repeat(G),
        **settings,
    )
    return advantages_NT


def their_loss(core, step: Step, case):
    """Policy loss, divergence and entropy bonus, as ``ppo_loss`` adds them."""
    from verl.workers.config import ActorConfig

    mine, loss_mode, aggregation, estimator, settings = case
    config = ActorConfig(
        strategy="fsdp", rollout_n=2, ppo_micro_batch_size_per_gpu=1, use_kl_loss=True, **settings
    )
    if loss_mode == "geo_mean" or "empty_rows" in mine:  # as the trainer, which counts every row
        config.global_batch_info["global_batch_size"] = ROWS
    logprobs_NT = step.logprobs_NT.clone().requires_grad_()
    loss, _ = core.get_policy_loss_fn(loss_mode)(
        old_log_prob=step.old_NT,
        log_prob=logprobs_NT,
        advantages=their_advantages(core, step, estimator),
        response_mask=step.trained_NT,
        config=config,
        **({"loss_agg_mode": aggregation} if aggregation else {}),
    )
    kl_NT = core.kl_penalty(
        logprob=logprobs_NT, ref_logprob=step.ref_NT, kl_penalty=config.kl_loss_type
    )
    loss = loss + core.agg_loss(
        loss_mat=BETA * kl_NT - ENTROPY * step.entropy_NT,
        loss_mask=step.trained_NT,
        loss_agg_mode=aggregation
        or {"geo_mean": "seq-mean-token-mean", **DEFAULT_MODE}.get(loss_mode, config.loss_agg_mode),
        **config.global_batch_info,
    )
    (gradient_NT,) = torch.autograd.grad(loss, logprobs_NT)
    return loss.detach(), gradient_NT


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient(core, name):
    """In steps with ratios beyond verl's bounds too, and in two micro-batches."""
    case = CASES[name]
    name = name.split(",")[0]
    algorithm = named(name, like="verl", **COMMON, **case[0])
    plain = named(name, **COMMON, **case[0])
    apart = 0
    for seed in DRAWS:
        step = draw(seed, jump=25.0)
        expected = their_loss(core, step, case)
        check(ours(algorithm, step), expected, f"{name}, step {seed}")
        apart += differs(ours(plain, step), expected)
    assert apart > 10, "the defaults give the same numbers, so like: verl was not tested"


def test_every_algorithm_is_compared_or_refused():
    from grpokit.algorithms.like import choices
    from grpokit.registry.resolve import resolve

    likely = {
        name
        for name, spec in SPECS.items()
        if spec.config and not isinstance(choices(resolve(spec.config)).get("verl", ""), str)
    }
    assert likely == {name.split(",")[0] for name in CASES}
