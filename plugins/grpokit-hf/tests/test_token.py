"""Single tokens by grpokit's own pass over the layers: what transformers computes, for every known kind."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from grpokit.api import Prompt, Rollout, Sampling
from grpokit_hf.backend import HfBackend
from grpokit_hf.load import load_adapter
from grpokit_hf.nn import caches, stack, token
from grpokit_hf.nn.decode import Decoder
from grpokit_hf.nn.stack import TURNED
from grpokit_hf.policy import Policy
from stirred import opened, stir
from update_pairs import KINDS

KNOWN = ("llama", "qwen2", "qwen3", "mistral")
SAMPLING = Sampling(group=4, max_tokens=14, temperature=1.0, seed=5)


def step_of(backend: HfBackend) -> token.TokenStep | None:
    """What a sampling batch would take."""
    with backend.policy.sampling():
        return backend.policy.step


def numbers(rollout: Rollout) -> list[float]:
    return [x for group in rollout.completions for c in group for x in c.logprobs or ()]


def tokens(rollout: Rollout) -> list[tuple[int, ...]]:
    return [c.token_ids for group in rollout.completions for c in group]


@pytest.fixture
def both(make_prompts: Callable[..., list[Prompt]]) -> Callable[[HfBackend], tuple[Rollout, ...]]:
    """The same completions by the token step and by transformers' code."""

    def draw(backend: HfBackend) -> tuple[Rollout, ...]:
        prompts, calls = make_prompts(), []
        backend.generate(prompts, SAMPLING)  # the first token of a run is computed in both ways
        step = backend.policy.step
        assert step is not None
        assert step.tried is True
        run = Decoder._run
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Decoder, "_run", lambda *args: calls.append(1) or run(*args))
            ours = backend.generate(prompts, SAMPLING)
            assert len(calls) == 1  # the prompts
            patch.setattr(Policy, "fuses", False)
            backend.policy.step = None
            theirs = backend.generate(prompts, SAMPLING)
            assert len(calls) == 1 + SAMPLING.max_tokens
        return ours, theirs

    return draw


@pytest.mark.parametrize(("together", "scores"), [(0, "blocks"), (0, "tiles"), (1 << 17, "auto")])
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("kind", KNOWN)
def test_tokens_are_those_of_transformers(
    kind: str, lora: bool, together: int, scores: str, folders, open_backend, both, monkeypatch
):
    monkeypatch.setattr(caches, "TOGETHER", together)
    backend = opened(open_backend, folders(kind), lora=lora, scores=scores)
    step = step_of(backend)
    assert step is not None
    assert [each.trains for each in step.stacks] == [not lora] * 8
    ours, theirs = both(backend)
    assert tokens(ours) == tokens(theirs)
    assert numbers(ours) == pytest.approx(numbers(theirs), abs=2e-5)


def test_bfloat16_differs_by_rounding(folders, open_backend, both):
    backend = opened(open_backend, folders("qwen3"), dtype="bfloat16")
    ours, theirs = both(backend)
    same = [a == b for a, b in zip(tokens(ours), tokens(theirs), strict=True)]
    assert sum(same) > len(same) / 2
    first = [c.logprobs[0] for r in (ours, theirs) for g in r.completions for c in g]
    half = len(first) // 2
    assert first[:half] == pytest.approx(first[half:], abs=0.05)


@pytest.mark.parametrize("rows", [3, 16, 40])
def test_products_in_bfloat16_are_off_by_its_rounding(rows: int, folders, open_backend):
    """However many rows: few and many go through X W', those between through W X'."""
    step = step_of(opened(open_backend, folders("llama"), dtype="bfloat16"))
    assert step is not None
    assert (rows in TURNED) == (rows == 16)
    for one in step.stacks:
        x = torch.randn(rows, one.weight.shape[1], dtype=torch.bfloat16)
        wanted = []
        for layer in one.layers:
            down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            low = layer.scaling["default"] * (x.double() @ down.double().T)
            wanted.append(x.double() @ layer.weight.double().T + low @ up.double().T)
        right = torch.cat(wanted, dim=1)
        found = one(x)
        assert found.dtype == x.dtype
        assert (found.double() - right).norm() <= 2.0**-8 * right.norm()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_other_kinds_are_left_to_transformers(kind: str, folders, open_backend, make_prompts):
    backend = opened(open_backend, folders(kind))
    assert len(tokens(backend.generate(make_prompts(), SAMPLING))) == 12
    assert (backend.policy.step is not None) == (kind in KNOWN)


@pytest.mark.parametrize(
    "settings", [{"fused": False}, {"packing": False}, {"attention": "sdpa"}], ids=str
)
def test_settings_that_leave_it_to_transformers(settings: dict[str, Any], folders, open_backend):
    assert step_of(opened(open_backend, folders("llama"), **settings)) is None


def test_an_adapter_that_has_changed_is_read_anew(folders, open_backend, both):
    backend = opened(open_backend, folders("qwen2"))
    before, _ = both(backend)
    stir(backend, seed=1)
    ours, theirs = both(backend)
    assert tokens(ours) == tokens(theirs) != tokens(before)
    assert numbers(ours) == pytest.approx(numbers(theirs), abs=2e-5)


def test_weights_that_were_replaced_are_taken_in(folders, open_backend, both):
    backend = opened(open_backend, folders("llama"))
    before, _ = both(backend)
    base = backend.policy.base.get_decoder().layers[1].mlp.up_proj.base_layer
    base.weight.data = base.weight.data.flip(0).contiguous()
    ours, theirs = both(backend)
    assert tokens(ours) == tokens(theirs) != tokens(before)


def test_weights_that_train_are_read_anew_and_stay_where_they_are(folders, open_backend, both):
    backend = opened(open_backend, folders("llama"), lora=False)
    weight = backend.policy.base.get_decoder().layers[1].mlp.up_proj.weight
    place = weight.data_ptr()
    before, _ = both(backend)
    with torch.no_grad():
        weight.mul_(-1.0)  # as an optimiser writes
    ours, theirs = both(backend)
    assert tokens(ours) == tokens(theirs) != tokens(before)
    assert weight.data_ptr() == place


def test_many_weights_that_train_are_not_copied(folders, open_backend, monkeypatch):
    monkeypatch.setattr(stack, "COPIED", 1000)
    assert step_of(opened(open_backend, folders("llama"), lora=False)) is None
    assert step_of(opened(open_backend, folders("llama"))) is not None


def test_nothing_is_held_twice_and_training_reads_the_same_weights(folders, open_backend):
    backend = opened(open_backend, folders("llama"))
    step = step_of(backend)
    assert step is not None
    held = {each.weight.untyped_storage().data_ptr() for each in step.stacks}
    layers = [
        module
        for name, module in backend.policy.base.get_decoder().layers.named_modules()
        if name.endswith("base_layer")
    ]
    assert len(layers) == 14
    assert {layer.weight.untyped_storage().data_ptr() for layer in layers} == held
    assert not any(layer.weight.requires_grad for layer in layers)


def test_a_step_that_is_wrong_is_noticed_and_not_used(
    folders, open_backend, make_prompts, monkeypatch, caplog
):
    right = opened(open_backend, folders("llama"), fused=False).generate(make_prompts(), SAMPLING)
    backend = opened(open_backend, folders("llama"))
    step = step_of(backend)
    assert step is not None

    def blind(self: Any, layer: Any, x_DH: Tensor, *rest: Any) -> Tensor:
        return torch.zeros_like(x_DH)

    monkeypatch.setattr(token.TokenStep, "attend", blind)
    with caplog.at_level(logging.WARNING, logger="grpokit.hf"):
        found = backend.generate(make_prompts(), SAMPLING)
        again = backend.generate(make_prompts(), replace(SAMPLING, step=0))
    assert step.tried is False
    assert [record.message[:45] for record in caplog.records] == [
        "tokens are sampled by transformers' own code:"
    ]
    assert tokens(found) == tokens(right) == tokens(again)


def test_a_hook_on_a_layer_is_not_passed_over(folders, open_backend):
    backend = opened(open_backend, folders("llama"))
    layer = backend.policy.base.get_decoder().layers[0]
    assert token.is_known(layer)
    handle = layer.mlp.register_forward_hook(lambda *_: None)
    assert not token.is_known(layer)
    handle.remove()


def test_an_evaluated_adapter_is_read(folders, open_backend, make_prompts, tmp_path):
    """It is put around layers whose weights were put together before, with the base model."""
    trained = opened(open_backend, folders("llama"))
    wanted = trained.generate(make_prompts(), SAMPLING)
    trained.save_policy(tmp_path)
    backend = HfBackend(trained.config)
    assert trained._recipe is not None
    backend.open_checkpoint(trained._recipe, None)
    base = backend.generate(make_prompts(), SAMPLING)
    assert backend.policy.step is not None
    load_adapter(backend.policy, tmp_path)
    found = backend.generate(make_prompts(), SAMPLING)
    assert backend.policy.step is not None
    assert tokens(found) == tokens(wanted) != tokens(base)
    assert numbers(found) == pytest.approx(numbers(wanted), abs=2e-5)


def test_an_adapter_that_is_off_is_not_read(folders, open_backend, make_prompts):
    backend = opened(open_backend, folders("llama"))
    with_it = backend.generate(make_prompts(), SAMPLING)
    with backend.policy.model.disable_adapter():
        assert step_of(backend) is None
        without = backend.generate(make_prompts(), SAMPLING)
    again = backend.generate(make_prompts(), SAMPLING)
    assert backend.policy.step is not None
    assert tokens(without) != tokens(with_it) == tokens(again)


def test_the_first_batch_is_drawn_as_all_later_ones_are(folders, open_backend, make_prompts):
    """Else a run that is resumed would draw other numbers than one that goes on."""
    backend = opened(open_backend, folders("llama"))
    first = backend.generate(make_prompts(), SAMPLING)
    again = backend.generate(make_prompts(), SAMPLING)
    assert tokens(first) == tokens(again)
    assert numbers(first) == numbers(again)
