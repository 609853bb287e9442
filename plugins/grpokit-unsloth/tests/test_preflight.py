"""What a plan says of Unsloth before anything heavy is imported."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.without_unsloth

EVERYTHING = {"torch": "2.13.0", "unsloth": "2026.10.9", "vllm": "0.31.0"}


@pytest.fixture
def ask(make_recipe, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Codes and levels for settings, with packages and a GPU as said."""
    from grpokit_hf import preflight as hf
    from grpokit_unsloth import preflight as ours

    def make(
        settings: dict[str, Any], *, gpu: bool = False, gone: tuple[str, ...] = (), **sections: Any
    ) -> dict[str, str]:
        there = {name: text for name, text in EVERYTHING.items() if name not in gone}
        for name in ours.ALWAYS:
            if name not in gone:
                there.setdefault(name, "1.0")
        monkeypatch.setattr(
            ours, "versions", lambda names: {n: there[n] for n in names if n in there}
        )
        monkeypatch.setattr(ours, "find_spec", lambda name: None if name in gone else name)
        for module in (ours, hf):
            monkeypatch.setattr(module, "gpu_names", lambda: ("NVIDIA Test",) if gpu else ())
        monkeypatch.setattr(hf, "cuda_build", lambda found: gpu)
        recipe = make_recipe(backend={"with": settings}, **sections)
        found = ours.preflight(recipe).problems
        assert all(one.remedy and one.key for one in found)
        return {one.code: one.level for one in found if one.code.startswith("US")}

    return make


def test_a_cpu_is_said(ask) -> None:
    assert ask({}) == {"US002": "warning"}
    assert ask({"device": "cpu"}, gpu=True) == {"US002": "warning"}
    assert ask({}, gpu=True) == {}


@pytest.mark.parametrize(
    ("settings", "code"), [({"load_in_4bit": True}, "US003"), ({"fast_inference": True}, "US004")]
)
def test_what_a_cpu_cannot_do_is_an_error(ask, settings: dict[str, Any], code: str) -> None:
    assert ask(settings) == {code: "error", "US002": "warning"}
    assert ask(settings, gpu=True) == {}


@pytest.mark.parametrize("gone", ["unsloth", "unsloth_zoo", "trl", "bitsandbytes"])
def test_missing_packages_are_named(ask, gone: str) -> None:
    assert ask({}, gone=(gone,))["US001"] == "error"
    assert ask({}, gpu=True, gone=(gone,)) == {"US001": "error"}


def test_a_gpu_without_vllm(ask) -> None:
    assert ask({}, gpu=True, gone=("vllm",)) == {"US004": "warning"}
    assert ask({"fast_inference": True}, gpu=True, gone=("vllm",)) == {"US004": "error"}
    assert ask({"fast_inference": False}, gpu=True, gone=("vllm",)) == {}


def test_a_gpu_trains_adapters_only(ask) -> None:
    assert ask({}, gpu=True, model={"lora": None}) == {"US005": "error"}
    assert "US005" not in ask({}, model={"lora": None})


def test_standby_without_vllm(ask) -> None:
    settings = {"standby": True, "fast_inference": False}
    assert ask(settings, gpu=True) == {"US006": "error"}


def test_it_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, grpokit_unsloth.hooks, grpokit_unsloth.config, grpokit_unsloth.preflight;"
        "bad = {'torch', 'transformers', 'trl', 'peft', 'unsloth'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def told(make_recipe, settings: dict[str, Any], installed: dict[str, str], *, gpu: bool) -> Any:
    from grpokit.api import MemoryFacts
    from grpokit_unsloth.config import UnslothConfig
    from grpokit_unsloth.preflight import memory_facts

    config = UnslothConfig.model_validate(settings)
    return memory_facts(config, installed, MemoryFacts(cache_width=4), on_gpu=gpu)


def test_memory_knows_four_bits_and_vllm_on_the_same_weights(make_recipe) -> None:
    from grpokit.api import PACKED_4BIT, SamplerMemory

    found = told(make_recipe, {"load_in_4bit": True}, EVERYTHING, gpu=True)
    assert found.packed == PACKED_4BIT
    assert found.cache_width == 4
    assert found.offloads
    assert found.sampler == SamplerMemory(share=0.5, same_weights=True)
    standby = told(make_recipe, {"standby": True}, EVERYTHING, gpu=True)
    assert standby.packed is None
    assert standby.sampler == SamplerMemory(share=None, same_weights=True, sleeps=True)


def test_memory_knows_when_the_model_itself_samples(make_recipe) -> None:
    assert told(make_recipe, {"fast_inference": False}, EVERYTHING, gpu=True).sampler is None
    assert told(make_recipe, {}, {}, gpu=True).sampler is None
    cpu = told(make_recipe, {"checkpointing": "plain"}, EVERYTHING, gpu=False)
    assert cpu.sampler is None
    assert not cpu.offloads


def test_four_bits_take_what_the_estimate_says(make_recipe) -> None:
    """bitsandbytes itself, on the CPU: packed weights, their scales, and the scales of those."""
    functional = pytest.importorskip("bitsandbytes").functional
    import torch

    from grpokit.api import PACKED_4BIT

    weight = torch.randn(1024, 2048, dtype=torch.bfloat16)
    packed, state = functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    tensors = (packed, state.absmax, state.state2.absmax)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert size == weight.numel() * PACKED_4BIT
