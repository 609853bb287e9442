"""Memory forecasts: published figures, exact parameter counts, and what must grow with what."""

import pytest

from grpokit.compose.dimensions import lora_parameters, parameters, read_dimensions
from grpokit.compose.footprint import estimate
from grpokit.compose.memory import (
    format_bytes,
    kv_cache_bytes,
    logits_bytes,
    training_shape,
)
from grpokit.spec.recipe import Recipe

GIB = 2**30
SMOLLM2 = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "tie_word_embeddings": True,
}
LLAMA8 = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "tie_word_embeddings": False,
}


def recipe(**sections):
    data = {
        "grpokit": 1,
        "model": {"id": "m"},
        "dataset": {"use": "d"},
        "rewards": [{"use": "number"}],
    }
    return Recipe.model_validate({**data, **sections})


def test_logits_of_a_whole_batch_are_78_28_gib():
    size = logits_bytes(rows=8, tokens=20480, vocab=128256, width=2, copies=2)
    assert round(size / GIB, 2) == 78.28


def test_kv_cache_of_one_long_sequence_is_2_50_gib():
    dims = read_dimensions(LLAMA8)
    size = kv_cache_bytes(layers=dims.layers, kv_width=dims.kv_width, tokens=20480, rows=1, width=2)
    assert round(size / GIB, 2) == 2.50


@pytest.mark.parametrize(("config", "count"), [(SMOLLM2, 134_515_008), (LLAMA8, 8_030_261_248)])
def test_parameter_counts_are_exact(config, count):
    assert parameters(read_dimensions(config)) == count


def test_lora_parameters_of_every_linear_layer():
    dims = read_dimensions(SMOLLM2)
    assert lora_parameters(dims, 16, "all-linear") == 4_884_480
    # q: 16 * (576 + 576), v: 16 * (576 + 192), in 30 layers
    assert lora_parameters(dims, 16, ["q_proj", "v_proj"]) == 30 * 16 * (1152 + 768)


def test_the_tiny_model_has_the_counted_parameters(tiny_model_folder):
    import json

    from safetensors import safe_open

    with safe_open(tiny_model_folder / "model.safetensors", "np") as file:
        count = 0
        for name in file.keys():  # noqa: SIM118  not a dict
            size = 1
            for length in file.get_slice(name).get_shape():
                size *= length
            count += size
    config = json.loads((tiny_model_folder / "config.json").read_text())
    assert parameters(read_dimensions(config)) == count


def test_text_config_is_read_and_missing_sizes_are_admitted():
    assert read_dimensions({"text_config": SMOLLM2}) == read_dimensions(SMOLLM2)
    assert read_dimensions({}) is None
    assert estimate(recipe(), {"hidden_size": 3}) is None


def test_lora_keeps_no_copy_of_the_reference_and_full_does():
    lora = estimate(recipe(), SMOLLM2, needs_reference=True).parts
    full = estimate(recipe(model={"id": "m", "lora": None}), SMOLLM2, needs_reference=True).parts
    assert lora["reference"] == 0
    assert lora["weights"] == 2 * 134_515_008
    assert lora["optimizer"] == 2 * lora["adapter"] == 2 * lora["gradients"]
    assert full["weights"] == full["reference"] == 4 * 134_515_008
    assert full["optimizer"] == 8 * 134_515_008


def test_chunked_logits_do_not_grow_with_the_batch():
    small = estimate(recipe(rollout={"max_tokens": 512}), SMOLLM2).parts
    large = estimate(
        recipe(rollout={"max_tokens": 8192, "group": 16}, optim={"micro_batch": 16}), SMOLLM2
    ).parts
    assert small["logits"] == large["logits"] == 2 * 4 * 256 * 49152
    assert large["activations"] > 8 * small["activations"]
    assert large["kv_cache"] > 8 * small["kv_cache"]


def test_checkpointing_saves_most_activations():
    usual = estimate(recipe(), SMOLLM2).parts["activations"]
    saved = estimate(recipe(model={"id": "m", "gradient_checkpointing": True}), SMOLLM2).parts[
        "activations"
    ]
    assert saved < usual / 8


def test_peak_takes_generation_and_training_in_turns():
    found = estimate(recipe(), SMOLLM2)
    lasting = sum(found.parts[key] for key in ("weights", "adapter", "optimizer", "reference"))
    training = sum(found.parts[key] for key in ("gradients", "activations", "logits"))
    assert found.peak == lasting + max(training, found.parts["kv_cache"])
    assert found.peak < found.total == sum(found.parts.values())


@pytest.mark.parametrize(
    ("optim", "shared", "expected"),
    [
        ({}, False, (21, 21 * 768)),  # 16384 // 768
        ({}, True, (30, 4 * 256 + 30 * 512)),  # 30 rows are of 4 prompts
        ({"micro_batch": 4}, False, (4, 4 * 768)),
        ({"micro_batch": 4}, True, (4, 256 + 4 * 512)),
        ({"minibatches": 8}, False, (8, 8 * 768)),
        ({"minibatches": 8}, True, (8, 8 * 768)),  # drawn by lot: each row may bring its prompt
        ({"micro_tokens": 100}, False, (1, 768)),
    ],
)
def test_rows_and_positions_of_a_micro_batch(optim, shared, expected):
    assert training_shape(recipe(optim=optim), 256, shared=shared) == expected


def test_a_shared_prefix_saves_activations():
    sections = {"rollout": {"prompts": 1, "group": 16, "max_tokens": 64}}
    usual = estimate(recipe(**sections), SMOLLM2, prompt_tokens=512).parts["activations"]
    shared = estimate(recipe(**sections), SMOLLM2, prompt_tokens=512, shared_prefix=True).parts[
        "activations"
    ]
    assert usual / shared == pytest.approx(16 * 576 / (512 + 16 * 64))


def test_the_forecast_of_a_measured_step_is_right():
    """96 completions of 20 tokens on 66-token prompts, rank 8, took 4.5 GiB on a CPU, torch and all."""
    sections = {
        "model": {"id": "m", "lora": {"rank": 8, "alpha": 16.0}},
        "rollout": {"prompts": 12, "group": 8, "max_tokens": 20},
    }
    found = estimate(recipe(**sections), SMOLLM2, prompt_tokens=66, shared_prefix=True)
    measured = 4616 * 2**20
    process = 600 * 2**20  # Python with torch and transformers before a model is loaded
    assert 0.7 < (found.peak + process) / measured < 1.5


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (3 * GIB, "3.00 GiB"),
    ],
)
def test_format_bytes(count, text):
    assert format_bytes(count) == text
