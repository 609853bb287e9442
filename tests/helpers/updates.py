"""Losses, advantages and gradients for tests of a backend's update."""

from __future__ import annotations

from typing import Any

import torch

from grpokit.api import Advantages, LossInputs, LossOutputs, Rollout, Selection
from grpokit_hf.backend import HfBackend

LOW, HIGH = 0.8, 1.2


def token_loss(inputs: LossInputs) -> LossOutputs:
    """Clipped surrogate, summed over tokens and divided by the tokens of the step."""
    ratio_NT = (inputs.logprobs_NT - inputs.old_logprobs_NT).exp()
    advantage_N1 = (inputs.advantages_N * inputs.weights_N)[:, None]
    objective_NT = torch.minimum(ratio_NT * advantage_N1, ratio_NT.clamp(LOW, HIGH) * advantage_N1)
    loss = -(objective_NT * inputs.mask_NT).sum() / inputs.totals.tokens
    if inputs.ref_logprobs_NT is not None:
        gap_NT = inputs.ref_logprobs_NT - inputs.logprobs_NT
        k3_NT = (gap_NT.exp() - gap_NT - 1) * inputs.mask_NT
        loss = loss + 0.1 * k3_NT.sum() / inputs.totals.tokens
    count = inputs.mask_NT.sum()
    sums = {"ratio": ((ratio_NT * inputs.mask_NT).sum().detach(), count)}
    if inputs.entropy_NT is not None:
        sums["entropy"] = ((inputs.entropy_NT * inputs.mask_NT).sum().detach(), count)
    return LossOutputs(loss=loss, sums=sums)


def advantages_of(rollout: Rollout) -> Advantages:
    shape = (len(rollout.prompts), rollout.group)
    values = torch.linspace(-1.0, 1.5, shape[0] * shape[1]).view(shape)
    values[0, 0] = 0.0
    return Advantages(
        advantages_PG=values,
        valid_PG=torch.ones(shape, dtype=torch.bool),
        dead_P=torch.zeros(shape[0], dtype=torch.bool),
    )


def everything(rollout: Rollout, weight: float = 1.0) -> Selection:
    rows = tuple(rollout.rows())
    return Selection(rows=rows, weights=(weight,) * len(rows), denominator=len(rows))


def gradients(backend: HfBackend, rollout: Rollout, loss: Any = token_loss) -> dict[str, Any]:
    """The gradient of one optimiser step, taken from the optimiser as it is applied."""
    caught: dict[str, torch.Tensor] = {}
    trainer = backend.trainer

    def catch(*_: Any) -> None:
        for name, weight in backend.policy.weights.items():
            if weight.grad is not None:
                caught.setdefault(name, weight.grad.clone())

    handle = trainer.optimizer.register_step_pre_hook(catch)
    backend.update(loss, rollout, advantages_of(rollout), everything(rollout), 1)
    handle.remove()
    return caught


def plain_gradients(backend: HfBackend, rollout: Rollout, temperature: float) -> dict[str, Any]:
    """The same by hand: one row at a time, full logits, policy gradient at ratio 1."""
    model = backend.policy.model
    model.zero_grad()
    tokens = sum(len(rollout.completions[p][g].token_ids) for p, g in rollout.rows())
    table = advantages_of(rollout).advantages_PG
    total = torch.zeros(())
    for p, g in rollout.rows():
        prompt, ids = rollout.prompt_ids[p], rollout.completions[p][g].token_ids
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
        logprobs = torch.log_softmax(logits.float() / temperature, -1)
        chosen = logprobs.gather(1, torch.tensor(ids)[:, None])
        total = total - table[p, g] * (chosen - chosen.detach()).exp().sum() / tokens
    total.backward()
    found = {
        name: weight.grad.clone()
        for name, weight in backend.policy.weights.items()
        if weight.grad is not None
    }
    model.zero_grad()
    return found


def assert_close(ours: dict[str, Any], theirs: dict[str, Any], rtol: float = 1e-5) -> None:
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        scale = value.abs().max().item()
        assert scale > 0 or name.endswith("lora_A.default.weight")
        assert (ours[name] - value).abs().max().item() <= rtol * max(scale, 1e-3), name
