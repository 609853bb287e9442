"""What `trl` tells the memory estimate."""

from __future__ import annotations

import json

import pytest

from grpokit.api import SHARDED, SamplerMemory
from grpokit_trl.config import TrlConfig
from grpokit_trl.memory import memory_facts

ZERO2 = frozenset({"optimizer", "gradients"})


def told(settings):
    return memory_facts(TrlConfig.model_validate(settings))


def test_the_logits_of_a_whole_micro_batch_are_held():
    assert told({"generate_rows": 5}).logit_rows is None
    assert told({"generate_rows": 5}).generate_rows == 5


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"vllm": "server"}, SamplerMemory()),
        ({"vllm": "colocate"}, SamplerMemory(share=0.3)),
        (
            {
                "vllm": "colocate",
                "args": {"vllm_gpu_memory_utilization": 0.4, "vllm_enable_sleep_mode": True},
            },
            SamplerMemory(share=0.4, sleeps=True),
        ),
    ],
)
def test_a_colocated_vllm_has_a_share(settings, expected):
    assert told(settings).sampler == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, frozenset()),
        ({"accelerate_config": "multi_gpu"}, frozenset()),
        ({"accelerate_config": "zero1"}, frozenset({"optimizer"})),
        ({"accelerate_config": "zero2"}, ZERO2),
        ({"accelerate_config": "zero3"}, SHARDED),
        ({"accelerate_config": "fsdp2"}, SHARDED),
        ({"accelerate_config": "no-such-file"}, frozenset()),
        ({"args": {"fsdp": "full_shard"}}, SHARDED),
        ({"args": {"deepspeed": {"zero_optimization": {"stage": 2}}}}, ZERO2),
        ({"args": {"deepspeed": {}}}, frozenset()),
    ],
)
def test_fsdp_and_zero_divide(settings, expected):
    assert told(settings).divided == expected


def test_files_of_deepspeed_and_accelerate_are_read(tmp_path):
    deep = tmp_path / "deep.json"
    deep.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    assert told({"args": {"deepspeed": str(deep)}}).divided == SHARDED
    own = tmp_path / "own.yaml"
    own.write_text("distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\n")
    assert told({"accelerate_config": str(own)}).divided == SHARDED
    own.write_text("[broken")
    assert told({"accelerate_config": str(own)}).divided == frozenset()


def test_what_others_refuse_is_estimated_without_a_traceback(tmp_path):
    colocate = {"vllm": "colocate", "args": {"vllm_gpu_memory_utilization": "half"}}
    sampler = told(colocate).sampler
    assert sampler is not None
    assert sampler.share == 0.3
    path = tmp_path / "accelerate.yaml"
    path.write_text("distributed_type: DEEPSPEED\ndeepspeed_config: zero3.json\n")
    assert told({"accelerate_config": str(path)}).divided == frozenset()
