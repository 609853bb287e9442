"""Algorithms that begin anew, on a real tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import small_runs
from grpokit.algorithms import Composition
from grpokit.algorithms.further import qrpo, rest_em
from grpokit.algorithms.offline_config import RestEmConfig
from grpokit.algorithms.prolonged import prorl, prorl_v2
from grpokit.algorithms.prolonged_config import ProrlConfig, ProrlV2Config
from grpokit.algorithms.quantile_config import QrpoConfig
from grpokit.spec.flow import Prompt, Rollout, Sampling, Selection
from grpokit.spec.recipe import Recipe
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig

LORA = {"rank": 4, "alpha": 8.0}
MODELS = pytest.mark.parametrize("lora", [LORA, None], ids=["lora", "full"])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def one_update(folder: Path, lora: dict[str, Any] | None) -> Recipe:
    """The recipe of the small runs with one optimiser step a step, so that metrics are of its start."""
    recipe = small_runs.recipe(folder)
    data = recipe.model_dump(by_alias=True, exclude_unset=True)
    data["model"]["lora"] = lora
    data["optim"]["minibatches"] = 1
    return Recipe.model_validate(data)


def kls(
    monkeypatch: pytest.MonkeyPatch, folder: Path, algorithm: Composition, lora: Any, count: int
) -> list[float]:
    recipe = one_update(folder, lora)
    monkeypatch.setattr(small_runs, "recipe", lambda *_: recipe)
    return [step.update.metrics["kl"] for step in small_runs.steps(folder, algorithm, count)]


@MODELS
@pytest.mark.parametrize("name", ["prorl", "prorl-v2"])
def test_the_divergence_is_exactly_zero_after_a_reset(monkeypatch, tiny_model_folder, name, lora):
    settings = {"every": 3, "on_bound": "train", "max_rounds": 1, "beta": 0.01}
    built = {
        "prorl": lambda: prorl(ProrlConfig(**settings)),
        "prorl-v2": lambda: prorl_v2(ProrlV2Config(**settings, stop_coefficient=1.0)),
    }[name]()
    found = kls(monkeypatch, tiny_model_folder, built, lora, 8)
    assert [step for step, kl in enumerate(found, 1) if kl == 0.0] == [1, 4, 7]


@MODELS
def test_a_divergence_that_dominates_is_what_resets(monkeypatch, tiny_model_folder, lora):
    """A bound that the second step exceeds."""
    settings = {"patience": None, "on_bound": "train", "max_rounds": 1}
    plain = kls(monkeypatch, tiny_model_folder, prorl(ProrlConfig(**settings)), lora, 4)
    assert all(kl > 0 for kl in plain[1:])
    bound = plain[1] / 4
    tight = prorl(ProrlConfig(**settings, kl_above=bound, window=2))
    found = kls(monkeypatch, tiny_model_folder, tight, lora, 4)
    assert found[:2] == plain[:2]
    assert found[2] == 0.0


def collected(
    backend: HfBackend, algorithm: Composition, step: int
) -> tuple[Rollout, Selection, Any]:
    prompts = [
        Prompt(id=f"p{i}", index=i, row={}, messages=({"role": "user", "content": f"{i}?"},))
        for i in range(4)
    ]
    rollout = backend.generate(prompts, Sampling(group=8, max_tokens=8, seed=3, step=step))
    scores = small_runs.scored(rollout)
    advantages = algorithm.advantages(rollout, scores)
    return rollout, algorithm.select(rollout, scores, advantages), advantages


def test_rest_em_fine_tunes_the_loaded_model(tiny_model_folder):
    """Each step's weights are those of plain fine-tuning of the model on disk on the kept rows."""
    from transformers import AutoModelForCausalLM

    recipe = one_update(tiny_model_folder, None)
    algorithm = rest_em(RestEmConfig(threshold=0.125, cap=5))
    backend = HfBackend(HfConfig(threads=1, device="cpu"))
    backend.open(recipe, needs_reference=False, needs_entropy=False)
    for step in (1, 2, 3):
        rollout, selection, advantages = collected(backend, algorithm, step)
        assert 0 < len(selection.rows) < 32
        backend.reset(algorithm.resets(step))
        backend.update(algorithm.loss, rollout, advantages, selection, step)
        model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).float()
        moved = fine_tuned(model, rollout, selection, recipe)
        for name, weight in backend.policy.weights.items():
            theirs, gradient = moved[name]
            clear = gradient.abs() > 1e-5  # AdamW's first step divides by the gradient's size
            assert torch.allclose(weight.detach()[clear], theirs[clear], atol=2e-5), (step, name)
    backend.close()


def fine_tuned(
    model: Any, rollout: Rollout, selection: Selection, recipe: Recipe
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Weights and gradients after one step on the mean negative log-likelihood of the tokens."""
    losses = []
    for p, g in selection.rows:
        prompt, ids = rollout.prompt_ids[p], rollout.completions[p][g].token_ids
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
        losses.append(
            torch.nn.functional.cross_entropy(logits, torch.tensor(ids), reduction="none")
        )
    torch.cat(losses).mean().backward()
    weights = dict(model.named_parameters())
    torch.nn.utils.clip_grad_norm_(weights.values(), recipe.optim.max_grad_norm)
    gradients = {name: weight.grad.clone() for name, weight in weights.items()}
    settings = {"lr": recipe.optim.lr, "betas": tuple(recipe.optim.betas)}
    torch.optim.AdamW(weights.values(), weight_decay=0.0, **settings).step()
    return {name: (weight.detach(), gradients[name]) for name, weight in weights.items()}


def test_rest_em_without_a_right_answer_stays_the_loaded_model(tiny_model_folder):
    backend = HfBackend(HfConfig(threads=1, device="cpu"))
    recipe = one_update(tiny_model_folder, None)
    backend.open(recipe, needs_reference=False, needs_entropy=False)
    start = {name: weight.detach().clone() for name, weight in backend.policy.weights.items()}
    for step, threshold in ((1, 0.125), (2, 9.0)):
        algorithm = rest_em(RestEmConfig(threshold=threshold))
        rollout, selection, advantages = collected(backend, algorithm, step)
        backend.reset(algorithm.resets(step))
        backend.update(algorithm.loss, rollout, advantages, selection, step)
        same = all(torch.equal(w, start[name]) for name, w in backend.policy.weights.items())
        assert same == (step == 2)
    backend.close()


def test_qrpo_compares_with_the_model_that_was_loaded(monkeypatch, tiny_model_folder):
    found = kls(monkeypatch, tiny_model_folder, qrpo(QrpoConfig()), None, 4)
    assert found[0] == 0.0
    assert all(kl > 0 for kl in found[1:])
