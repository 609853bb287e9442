"""Loss, gradient, divergence and advantages agree with TRL 1.14.2's real trainer to 1e-5.

The trainer runs its own code on given tokens and rewards: ``_generate_and_score_completions`` with
completions handed in through ``rollout_func``, and ``compute_loss`` on the result.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from grpokit.algorithms import token_logprobs
from grpokit.algorithms.grpo import build
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.spec.flow import LossInputs, LossTotals, Scores

trl = pytest.importorskip("trl", reason="trl is in the dev dependency group", exc_type=ImportError)

P, G, MAX_TOKENS = 3, 4, 10
EOS = 2
REWARDS: list[list[float | None]] = [
    [1.0, 0.0, 0.0, 0.25],
    [0.5, None, 1.0, 0.5],
    [1.0, 1.0, 1.0, 1.0],
]


@dataclass
class Case:
    trainer: Any
    batch: dict[str, torch.Tensor]


NO_ROLLOUT: Any = None  # GRPO's parts look at scores only


def completions() -> list[list[int]]:
    """P x G ragged completions; those of full length are truncated, the others end."""
    rng = torch.Generator().manual_seed(7)
    made = []
    for row in range(P * G):
        length = MAX_TOKENS if row % 5 == 0 else 2 + row % 7
        ids = torch.randint(4, 100, (length,), generator=rng).tolist()
        made.append(ids if length == MAX_TOKENS else [*ids[:-1], EOS])
    return made


def make_case(folder, tmp_path, **settings) -> Case:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    prompts = ["2+2=", "what is 3?", "x"]
    flat = [value for group in REWARDS for value in group]

    def rollout_func(batch, trainer):
        ids = [trainer.processing_class(text)["input_ids"] for text in batch]
        return {
            "prompt_ids": ids,
            "completion_ids": completions(),
            "logprobs": [[0.0] * len(c) for c in completions()],
        }

    def reward(prompts, completions, **kwargs):
        return flat

    args = trl.GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=P * G,
        num_generations=G,
        max_completion_length=MAX_TOKENS,
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        **settings,
    )
    trainer = trl.GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        reward_funcs=reward,
        args=args,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left"),
        rollout_func=rollout_func,
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    rows = [{"prompt": prompt} for prompt in prompts for _ in range(G)]
    with contextlib.redirect_stdout(io.StringIO()):
        batch = trainer._generate_and_score_completions(rows)
    return Case(trainer, batch)


@pytest.fixture
def case(tiny_model_folder, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(trl|transformers|accelerate|datasets|torch)\b")
        yield lambda **settings: make_case(tiny_model_folder, tmp_path, **settings)
    torch.set_num_threads(threads)


def make_stale(batch: dict[str, torch.Tensor], logprobs_NT: torch.Tensor) -> None:
    """Old and reference log-probs some way from the policy, as after several optimiser steps."""
    rng = torch.Generator().manual_seed(3)
    for name, scale in (("old_per_token_logps", 0.3), ("ref_per_token_logps", 0.5)):
        noise_NT = torch.randn(logprobs_NT.shape, generator=rng)
        batch[name] = logprobs_NT + scale * noise_NT


def policy_logprobs(model, batch, temperature):
    """Through our own chunked log-probs, from the hidden states of the same model."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    tokens = batch["completion_ids"].shape[1]
    wanted = hidden[:, -tokens - 1 : -1].reshape(-1, hidden.shape[-1])
    logprobs, entropy = token_logprobs(
        wanted,
        model.lm_head.weight,
        batch["completion_ids"].reshape(-1),
        temperature=temperature,
        chunk=16,
        entropy=True,
    )
    assert entropy is not None
    return logprobs.reshape(-1, tokens), entropy.reshape(-1, tokens)


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


CASES = [
    ({}, {}),
    ({"beta": 0.04, "use_bias_correction_kl": False}, {"beta": 0.04}),
    ({"beta": 0.1}, {"beta": 0.1, "kl_times_ratio": True}),
    ({"epsilon_high": 0.28, "delta": 1.5}, {"epsilon_high": 0.28, "delta": 1.5}),
    ({"loss_type": "dapo", "temperature": 0.7}, {"aggregation": "token-mean"}),
    ({"loss_type": "dr_grpo"}, {"aggregation": "constant-length"}),
    ({"loss_type": "bnpo"}, {"aggregation": "token-mean-local"}),
    ({"mask_truncated_completions": True}, {"mask_truncated": True}),
    (
        {"mask_truncated_completions": True, "loss_type": "dapo", "beta": 0.05},
        {"mask_truncated": True, "aggregation": "token-mean", "beta": 0.05, "kl_times_ratio": True},
    ),
]


@pytest.mark.parametrize(("theirs", "ours"), CASES, ids=str)
def test_loss_gradients_and_metrics(case, theirs, ours):
    made = case(**{"loss_type": "grpo", **theirs})
    trainer, batch = made.trainer, made.batch
    model = trainer.model
    temperature = theirs.get("temperature", 1.0)
    with torch.no_grad():
        make_stale(batch, policy_logprobs(model, batch, temperature)[0])

    loss = trainer.compute_loss(model, batch)
    loss.backward()
    expected = gradients(model)
    metrics = trainer._metrics["train"]

    config = GrpoConfig(**ours)
    algorithm = build(config)
    ids = completions()
    lengths_N = torch.tensor([len(row) for row in ids])
    truncated_N = torch.tensor([row[-1] != EOS for row in ids])
    assert truncated_N.any()
    mask_NT = torch.arange(batch["completion_ids"].shape[1]) < lengths_N[:, None]
    advantages = algorithm.advantages(NO_ROLLOUT, Scores(rewards={}, components={}, total=REWARDS))
    kept_N = ~truncated_N if config.mask_truncated else torch.ones(P * G, dtype=torch.bool)
    totals = LossTotals(
        rows=P * G, tokens=int((mask_NT & kept_N[:, None]).sum()), max_tokens=MAX_TOKENS
    )
    if config.mask_truncated:
        batch = {**batch, "completion_mask": mask_NT.long()}
    logprobs_NT, entropy_NT = policy_logprobs(model, batch, temperature)
    outputs = algorithm.loss(
        LossInputs(
            logprobs_NT=logprobs_NT,
            old_logprobs_NT=batch["old_per_token_logps"],
            ref_logprobs_NT=batch["ref_per_token_logps"],
            sampler_logprobs_NT=None,
            entropy_NT=entropy_NT,
            advantages_N=advantages.advantages_PG.reshape(-1),
            weights_N=torch.ones(P * G),
            truncated_N=truncated_N,
            mask_NT=mask_NT,
            totals=totals,
        )
    )
    assert outputs.loss.item() == pytest.approx(loss.item(), rel=1e-5, abs=1e-6)
    outputs.loss.backward()
    found = gradients(model)
    assert set(found) == set(expected)
    assert sum(float(g.norm()) for g in expected.values()) > 1e-3
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)

    names = {"clip_low": "clip_ratio/low_mean", "clip_high": "clip_ratio/high_mean"}
    names["entropy"] = "entropy"
    if config.beta and not config.kl_times_ratio:
        names["kl"] = "kl"
    for mine, their in names.items():
        numerator, denominator = outputs.sums[mine]
        value = (numerator / denominator).item()
        assert value == pytest.approx(metrics[their][-1], rel=1e-5, abs=1e-6), mine
    assert metrics["clip_ratio/low_mean"][-1] + metrics["clip_ratio/high_mean"][-1] > 0


@pytest.mark.parametrize("scale", ["group", "none"])
def test_advantages(case, scale):
    """Sample deviation plus 1e-4; a completion without a reward gets 0 and leaves the statistics."""
    made = case(loss_type="grpo", scale_rewards=scale)
    algorithm = build(GrpoConfig())
    if scale == "none":
        from grpokit.algorithms import group_centred

        algorithm = algorithm.replace("advantage", group_centred)
    advantages = algorithm.advantages(NO_ROLLOUT, Scores(rewards={}, components={}, total=REWARDS))
    found = advantages.advantages_PG.reshape(-1)
    torch.testing.assert_close(found, made.batch["advantages"].float(), rtol=1e-5, atol=1e-5)
    assert found[5] == 0
    assert found.abs().max() > 0.1


@pytest.mark.parametrize("aggregation", ["sum_then_normalize", "normalize_then_sum"])
def test_advantages_by_the_deviation_of_the_batch(case, aggregation):
    """Lite PPO's scale, and GDPO as TRL has it: z-scores, summed, by the batch's deviation."""
    from grpokit.algorithms.advantage_batch import batch_std
    from grpokit.algorithms.aggregate import normalised_sum

    made = case(loss_type="grpo", scale_rewards="batch", multi_objective_aggregation=aggregation)
    algorithm = build(GrpoConfig()).replace("advantage", batch_std)
    if aggregation == "normalize_then_sum":
        algorithm = algorithm.replace(
            "aggregate", functools.partial(normalised_sum, weights={"r": 1.0})
        )
    scores = Scores(rewards={"r": REWARDS}, components={}, total=REWARDS)
    found = algorithm.advantages(NO_ROLLOUT, scores).advantages_PG.reshape(-1)
    torch.testing.assert_close(found, made.batch["advantages"].float(), rtol=1e-5, atol=1e-5)
    assert found[5] == 0
    assert found.abs().max() > 0.1
