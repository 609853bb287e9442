"""What `hf` tells the memory estimate: who holds what, and who samples."""

from __future__ import annotations

import pytest

from grpokit.api import SHARDED, SamplerMemory
from grpokit_hf.config import HfConfig
from grpokit_hf.memory import memory_facts

GIB = 2**30


def told(make_recipe, settings=None, *, on_cpu=False, processes=1):
    recipe = make_recipe(train={"processes": processes})
    return memory_facts(recipe, HfConfig.model_validate(settings or {}), on_cpu=on_cpu)


def test_one_process_holds_all_and_samples_itself(make_recipe):
    found = told(make_recipe, {"generate_rows": 7, "logit_rows": 9, "parallel": "fsdp"})
    assert (found.generate_rows, found.logit_rows) == (7, 9)
    assert found.divided == frozenset()
    assert found.gradient_copies == 0
    assert found.sampler is None


def test_attention_in_float32_keeps_its_cache_in_float32(make_recipe):
    assert told(make_recipe, on_cpu=True).cache_width == 4
    assert told(make_recipe).cache_width is None
    assert told(make_recipe, {"attention": "float32"}).cache_width == 4
    assert told(make_recipe, {"attention": "sdpa"}, on_cpu=True).cache_width is None


def test_ddp_copies_gradients_and_fsdp_divides(make_recipe):
    ddp = told(make_recipe, processes=2)
    assert (ddp.divided, ddp.gradient_copies) == (frozenset(), 1)
    fsdp = told(make_recipe, {"parallel": "fsdp"}, processes=2)
    assert (fsdp.divided, fsdp.gradient_copies) == (SHARDED, 0)


@pytest.mark.parametrize(
    ("section", "on_cpu", "expected"),
    [
        ({}, False, SamplerMemory(share=0.3)),
        ({"memory": 0.5, "sleep": True}, False, SamplerMemory(share=0.5, sleeps=True)),
        ({"options": {"gpu_memory_utilization": 0.6}}, False, SamplerMemory(share=0.6)),
        ({"cpu_cache": 3}, True, SamplerMemory(cache=3 * GIB, copies=2)),
        ({"sync": "adapter"}, True, SamplerMemory(cache=2 * GIB)),
        ({"folder": "/disk"}, True, SamplerMemory(cache=2 * GIB)),
        ({"mode": "server"}, False, SamplerMemory()),
    ],
)
def test_vllm_is_told_as_it_is_started(make_recipe, monkeypatch, section, on_cpu, expected):
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    found = told(make_recipe, {"rollouts": "vllm", "vllm": section}, on_cpu=on_cpu)
    assert found.sampler == expected


def test_the_users_cache_of_vllm_counts(make_recipe, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "5")
    found = told(make_recipe, {"rollouts": "vllm"}, on_cpu=True)
    assert found.sampler == SamplerMemory(cache=5 * GIB, copies=2)
