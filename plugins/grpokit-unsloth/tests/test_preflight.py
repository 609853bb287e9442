"""What a plan says of Unsloth before anything heavy is imported."""

from __future__ import annotations

import json
import shutil
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
        wide = {"dtype": "bfloat16", **sections.pop("model", {})}
        recipe = make_recipe(backend={"with": settings}, model=wide, **sections)
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


@pytest.mark.parametrize(
    ("settings", "around", "more"),
    [
        ({"fast_inference": False}, {"gpu": True}, {}),
        ({}, {"gpu": True, "gone": ("vllm",)}, {"US004": "warning"}),
        ({}, {"gpu": True, "model": {"dtype": "float32"}}, {"US004": "warning"}),
        ({}, {}, {"US002": "warning"}),
    ],
)
def test_standby_without_vllm_is_not_ignored(
    ask, settings: dict[str, Any], around: dict[str, Any], more: dict[str, str]
) -> None:
    assert ask({"standby": True, **settings}, **around) == {"US006": "error", **more}


def test_vllm_computes_in_16_bits(ask) -> None:
    wide = {"dtype": "float32"}
    assert ask({}, gpu=True, model=wide) == {"US004": "warning"}
    assert ask({"fast_inference": True}, gpu=True, model=wide) == {"US004": "error"}
    assert ask({"fast_inference": False}, gpu=True, model=wide) == {}


def test_vllm_of_today_reads_4_bits_with_a_package_of_its_own(
    ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    four = {"load_in_4bit": True}
    gone = ("vllm_bnb_plugin",)
    assert ask(four, gpu=True) == {}
    assert ask(four, gpu=True, gone=gone) == {"US004": "error"}
    assert ask({**four, "fast_inference": False}, gpu=True, gone=gone) == {}
    monkeypatch.setitem(EVERYTHING, "vllm", "0.27.2")
    assert ask(four, gpu=True, gone=gone) == {}


def test_the_kernel_of_the_cpu_path_is_not_that_of_a_gpu(ask) -> None:
    assert ask({"attention": "sdpa"}, gpu=True) == {"US006": "warning"}
    assert ask({"attention": "sdpa"}) == {"US002": "warning"}


def test_quantised_files_cannot_be_merged_later(ask, make_recipe, tmp_path) -> None:
    """It is said before the night of training, and not at its export."""
    source = make_recipe().model.id
    folder = tmp_path / "packed"
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    assert ask({}, gpu=True, model={"id": str(folder)}) == {"US007": "warning"}


def test_hf_is_asked_about_what_was_set_and_no_more(make_recipe) -> None:
    """Else it warns of settings for vLLM that nobody wrote."""
    from grpokit_unsloth.preflight import preflight

    found = preflight(make_recipe(backend={"with": {"device": "cpu"}})).problems
    assert {one.code for one in found} <= {"US001", "US002"}


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
    from grpokit_unsloth.preflight import memory_facts

    recipe = make_recipe(backend={"with": settings}, model={"dtype": "bfloat16"})
    return memory_facts(recipe, installed, MemoryFacts(cache_width=4), on_gpu=gpu)


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
