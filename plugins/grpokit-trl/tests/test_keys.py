"""What may stand under ``backend.with``: every key of the installed TRL is known, none is ignored."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from pydantic import ValidationError

from grpokit_trl import keys
from grpokit_trl.config import TrlConfig


def installed() -> set[str]:
    from trl import GRPOConfig

    return {field.name for field in dataclasses.fields(GRPOConfig)}


def test_every_key_of_the_installed_trl_is_known():
    known = keys.PASSED | keys.RECIPE.keys() | keys.NO_EFFECT.keys() | keys.RENAMED.keys()
    assert not installed() - known


def test_every_key_that_is_passed_on_exists():
    assert not keys.PASSED - installed()
    assert set(keys.RENAMED.values()) <= keys.PASSED


def test_a_key_stands_in_one_table():
    tables = (keys.PASSED, set(keys.RECIPE), set(keys.NO_EFFECT), set(keys.RENAMED))
    assert sum(map(len, tables)) == len(set().union(*tables))


@pytest.mark.parametrize(
    ("key", "value", "fact"),
    [
        ("learning_rate", 1e-6, "said by the recipe: optim.lr"),
        ("num_generations", 8, "said by the recipe: rollout.group"),
        ("beta", 0.1, "said by the recipe: algorithm"),
        ("loss_type", "grpo", "TRL's own default is DAPO's loss"),
        ("max_prompt_length", 512, "rollout.max_prompt_tokens"),
        ("warmup_ratio", 0.1, "optim.warmup"),
        ("use_vllm", True, "backend.with.vllm"),
        ("trust_remote_code", True, "never run"),
        ("torch_compile", True, "not the compiled one"),
        ("ddp_timeout", 3600, "joins the processes"),
        ("ddp_bucket_cap_mb", 25, "without DDP's hooks"),
        ("accelerator_config", {}, "no row comes from one"),
        ("torch_empty_cache_steps", 10, "expandable_segments"),
        ("use_liger_kernal", True, "did you mean `use_liger_kernel`"),
        ("nonsense", 1, "`nonsense` is no key of TRL's GRPOConfig"),
    ],
)
def test_a_key_that_the_recipe_says_is_refused(key: str, value: object, fact: str):
    with pytest.raises(ValidationError, match="(?s)" + fact.replace("(", "\\(")):
        TrlConfig.model_validate({"args": {key: value}})


def test_all_wrong_keys_are_told_at_once():
    with pytest.raises(ValidationError) as error:
        TrlConfig.model_validate({"args": {"beta": 0, "seed": 1, "vllm_mod": "x"}})
    text = str(error.value)
    assert all(word in text for word in ("`beta`", "train.seed", "`vllm_mod`"))


def test_old_names_are_translated():
    config = TrlConfig.model_validate(
        {"args": {"use_transformers_paged": True, "use_liger_loss": False}}
    )
    assert config.args == {"use_transformers_continuous_batching": True, "use_liger_kernel": False}
    with pytest.raises(ValidationError, match="keep one"):
        TrlConfig.model_validate({"args": {"use_liger_loss": True, "use_liger_kernel": True}})


@pytest.mark.parametrize(
    "settings",
    [
        {"args": {"vllm_gpu_memory_utilization": 0.3}},
        {"vllm": "colocate", "args": {"use_transformers_continuous_batching": True}},
        {"accelerate_config": "fsdp2", "args": {"fsdp": "full_shard"}},
        {"vllm": "colocate", "args": {"vllm_server_port": 8000}},
        {"vllm": "server", "args": {"vllm_gpu_memory_utilization": 0.3}},
        {"vllm": "server", "args": {"cache_implementation": "static"}},
        {"args": {"vllm_structured_outputs_regex": "a"}},
        {"args": {"liger_kernel_config": {"rope": True}}},
        {"args": {"use_liger_kernel": False, "liger_kernel_config": {"rope": True}}},
        {"args": {"transformers_continuous_batching_config": {"max_memory_percent": 0.5}}},
        {"args": {"fsdp_config": {"min_num_params": 1}}},
        {"args": {"ds3_gather_for_generation": False}},
        {"args": {"generation_kwargs": {"temperature": 0.5}}},
        {"args": {"generation_kwargs": {"return_dict_in_generate": True}}},
        {"args": {"generation_kwargs": {"repetition_penalty": 1.1}}},
        {"args": {"generation_kwargs": 5}},
        {"args": {"repetition_penalty": "much"}},
        {"args": {"repetition_penalty": 0}},
        {"args": {"pad_to_multiple_of": 0}},
    ],
)
def test_settings_that_would_be_ignored_or_fail_later_are_refused(settings: dict[str, object]):
    with pytest.raises(ValidationError):
        TrlConfig.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"vllm": "server", "args": {"vllm_server_port": 8000}},
        {"vllm": "colocate", "args": {"vllm_structured_outputs_regex": "a"}},
        {"args": {"use_liger_kernel": True, "liger_kernel_config": {"rope": True}}},
        {"args": {"fsdp": "full_shard", "fsdp_config": {"min_num_params": 1}}},
        {"accelerate_config": "zero3", "args": {"ds3_gather_for_generation": False}},
        {"args": {"generation_kwargs": {"no_repeat_ngram_size": 3}, "repetition_penalty": 1.1}},
    ],
)
def test_settings_that_go_together_are_taken(settings: dict[str, object]):
    assert TrlConfig.model_validate(settings).args == settings["args"]


def test_every_key_of_vllm_says_who_reads_it():
    named = {key for key in keys.PASSED if key.startswith("vllm_")}
    assert named - keys.VLLM_KEYS.keys() == {"vllm_structured_outputs_regex"}
    assert keys.VLLM_KEYS.keys() <= named
    assert {*keys.NEEDS, *keys.NEEDS.values()} <= keys.PASSED


def test_checking_a_recipe_imports_neither_torch_nor_trl():
    code = (
        "import sys; from grpokit_trl.config import TrlConfig; import grpokit_trl.preflight;"
        "import grpokit_trl.hooks; TrlConfig(args={'tf32': True});"
        "print([m for m in ('torch', 'trl', 'transformers', 'accelerate') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
