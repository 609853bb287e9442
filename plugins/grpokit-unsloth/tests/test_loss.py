"""The loss that a plugin gives is the loss that is minimised: Unsloth's own are never used."""

from __future__ import annotations

from typing import Any

import pytest

from grpokit.api import Prompt, Rollout, Sampling

SAMPLING = Sampling(group=2, max_tokens=6, seed=7, step=1)


def squares(factor: float) -> Any:
    """A loss that no library has: ``factor`` times the mean squared log-probability."""
    from grpokit.api import LossInputs, LossOutputs

    def loss(inputs: LossInputs) -> LossOutputs:
        total = (inputs.logprobs_NT.square() * inputs.mask_NT).sum()
        return LossOutputs(loss=factor * total / inputs.totals.tokens)

    return loss


def wake(backend: Any) -> None:
    """LoRA starts with B = 0, where A has no gradient: move it."""
    import torch

    lot = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in sorted(backend.policy.weights.items()):
            if "lora_B" in name:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=lot))


def test_a_changed_loss_changes_the_gradient(make_recipe, open_backend, prompts) -> None:
    from updates import gradients

    backend = open_backend(make_recipe(optim={"lr": 1e-9, "max_grad_norm": 1e6}))
    wake(backend)
    rollout = backend.generate(prompts, SAMPLING)
    once, thrice = (gradients(backend, rollout, squares(factor)) for factor in (1.0, 3.0))
    for name, gradient in once.items():
        assert gradient.abs().max() > 0, name
        assert (3 * gradient - thrice[name]).abs().max() < 1e-4 * gradient.abs().max(), name


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
def test_the_gradient_is_that_of_the_loss(make_recipe, open_backend, prompts, lora) -> None:
    """Against autograd through the whole model and its logits, without any forward of ours."""
    import torch

    from updates import gradients

    backend = open_backend(make_recipe(model={"lora": lora}, optim={"max_grad_norm": 1e6}))
    wake(backend)
    rollout = backend.generate(prompts, SAMPLING)
    model, total, count = backend.policy.model, torch.zeros(()), 0
    for ids, new in rows(rollout):
        logits_TV = model(input_ids=torch.tensor([ids])).logits[0, -new - 1 : -1]
        chosen_T1 = logits_TV.log_softmax(-1).gather(1, torch.tensor(ids[-new:])[:, None])
        total = total + chosen_T1.square().sum()
        count += new
    (total / count).backward()
    expected = {name: weight.grad.clone() for name, weight in backend.policy.weights.items()}
    model.zero_grad()
    found = gradients(backend, rollout, squares(1.0))
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() < 2e-4 * gradient.abs().max() + 1e-7, name


def rows(rollout: Rollout) -> list[tuple[list[int], int]]:
    """Prompt and completion as one list, and the length of the completion."""
    found = []
    for p, g in rollout.rows():
        new = rollout.completions[p][g].token_ids
        found.append(([*rollout.prompt_ids[p], *new], len(new)))
    return found


def test_reference_is_the_model_without_its_adapter(
    make_recipe, open_backend, prompts: list[Prompt]
) -> None:
    import torch

    from grpokit.api import LossInputs
    from updates import advantages_of, everything

    backend = open_backend(make_recipe(), needs_reference=True)
    wake(backend)
    rollout = backend.generate(prompts, SAMPLING)
    seen: list[LossInputs] = []

    def loss(inputs: LossInputs) -> Any:
        seen.append(inputs)
        return squares(1.0)(inputs)

    backend.update(loss, rollout, advantages_of(rollout), everything(rollout), 1)
    with torch.no_grad(), backend.policy.model.disable_adapter():
        for ids, new in rows(rollout):
            logits_TV = backend.policy.model(input_ids=torch.tensor([ids])).logits[0, -new - 1 : -1]
            plain_T = logits_TV.log_softmax(-1).gather(1, torch.tensor(ids[-new:])[:, None])[:, 0]
            [(found_T, moved_T)] = [
                (inputs.ref_logprobs_NT[n, :new], inputs.logprobs_NT[n, :new].detach())
                for inputs in seen
                for n in range(len(inputs.tokens_NT))
                if inputs.tokens_NT[n, : int(inputs.mask_NT[n].sum())].tolist() == ids[-new:]
            ][:1]
            assert (found_T - plain_T).abs().max() < 1e-5
            assert (moved_T - plain_T).abs().max() > 0.01
