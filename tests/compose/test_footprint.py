"""The memory of a run on backends that pack, divide or share it: numbers worked out by hand."""

from pathlib import Path

import pytest

from grpokit.compose.dimensions import parameters, read_dimensions
from grpokit.compose.footprint import estimate
from grpokit.compose.load import load_recipe
from grpokit.compose.memory import format_bytes, gathered_bytes, unpacked_bytes, weight_bytes
from grpokit.registry.catalog import Catalog
from grpokit.spec.memory import PACKED_4BIT, SHARDED, MemoryFacts, SamplerMemory
from grpokit.spec.recipe import Recipe

GIB = 2**30
LLAMA8 = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "tie_word_embeddings": False,
}
WEIGHTS = 8_030_261_248
BLOCKS = 6_979_321_856  # 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
REST = WEIGHTS - BLOCKS
PACKED = 3_600_416_768 + 2 * REST  # blocks of half a byte and its scales; the rest at two bytes
TOKEN = 2 * 2 * 32 * 1024  # keys and values of a token in bfloat16
FULL = {"id": "m", "lora": None}


def recipe(**sections):
    data = {
        "grpokit": 1,
        "model": {"id": "m", "lora": {"rank": 16, "alpha": 32}},
        "dataset": {"use": "d"},
        "rewards": [{"use": "number"}],
        "rollout": {"prompts": 4, "group": 8, "max_tokens": 512},
    }
    return Recipe.model_validate({**data, **sections})


def found(facts, made=None, **known):
    return estimate(made or recipe(), LLAMA8, facts=facts, prompt_tokens=256, **known)


def test_four_bits_are_those_of_qlora():
    """0.127 bits of scales a weight (QLoRA, section 3: 8 / 64 + 32 / (64 * 256))."""
    assert PACKED_4BIT == 0.515869140625
    scales = (PACKED_4BIT - 0.5) * 8
    assert scales == pytest.approx(0.127, abs=5e-4)


def test_packed_weights_leave_embedding_and_head_alone():
    dims = read_dimensions(LLAMA8)
    assert weight_bytes(dims, width=2) == 2 * WEIGHTS
    assert weight_bytes(dims, width=2, packed=PACKED_4BIT) == PACKED == 5_702_295_552
    assert unpacked_bytes(dims, width=2) == 2 * 4096 * 14336


def test_four_bits_change_the_frozen_weights_and_nothing_else():
    plain, packed = found(MemoryFacts()), found(MemoryFacts(packed=PACKED_4BIT))
    assert packed.parts["weights"] == PACKED
    assert packed.parts["unpacked"] == 117_440_512
    same = plain.parts.keys() - {"weights", "unpacked"}
    assert {n: plain.parts[n] for n in same} == {n: packed.parts[n] for n in same}
    assert plain.peak - packed.peak == 2 * WEIGHTS - PACKED - 117_440_512


def test_weights_that_train_are_never_packed():
    full = found(MemoryFacts(packed=PACKED_4BIT), recipe(model=FULL)).parts
    assert full["weights"] == 4 * WEIGHTS
    assert full["unpacked"] == 0


def test_autocast_keeps_a_cast_of_every_trained_weight():
    half = found(MemoryFacts(), recipe(model={**FULL, "dtype": "bfloat16"})).parts
    assert half["casts"] == 2 * WEIGHTS
    assert half["weights"] == 4 * WEIGHTS
    assert found(MemoryFacts(), recipe(model=FULL)).parts["casts"] == 0
    assert found(MemoryFacts()).parts["casts"] == 0


def test_an_engine_of_its_own_takes_its_share_and_there_is_no_other_cache():
    """0.3 of 80 GiB stay taken while the update runs; asleep they are free then."""
    awake = found(MemoryFacts(sampler=SamplerMemory(share=0.3)), device=80 * GIB)
    asleep = found(MemoryFacts(sampler=SamplerMemory(share=0.3, sleeps=True)), device=80 * GIB)
    assert awake.parts["engine"] == asleep.parts["engine"] == 24 * GIB
    assert awake.parts["kv_cache"] == 0
    alone = found(MemoryFacts(sampler=SamplerMemory()))  # a server
    assert alone.parts["engine"] == alone.parts["kv_cache"] == 0
    assert awake.peak == alone.peak + 24 * GIB
    update = sum(alone.parts[part] for part in ("gradients", "activations", "logits"))
    assert asleep.peak == alone.peak - update + max(update, 24 * GIB)


def test_an_engine_on_the_same_weights_holds_them_once():
    """Half of 40 GiB, of which the 4-bit weights are a part."""
    facts = MemoryFacts(packed=PACKED_4BIT, sampler=SamplerMemory(share=0.5, same_weights=True))
    shared = found(facts, device=40 * GIB).parts
    assert shared["weights"] + shared["engine"] == 20 * GIB
    asleep = MemoryFacts(sampler=SamplerMemory(share=0.5, same_weights=True, sleeps=True))
    made = found(asleep, device=40 * GIB)
    assert "engine" in made.sampling
    assert "weights" not in made.sampling | made.training


def test_an_engine_whose_share_is_unknown_takes_the_least_it_needs():
    """Its weights, and the cache of one completion of 256 + 512 tokens."""
    least = 2 * WEIGHTS + 768 * TOKEN
    without_gpu = found(MemoryFacts(sampler=SamplerMemory(share=0.3)))
    assert without_gpu.parts["engine"] == least
    assert any("size is not known" in note for note in without_gpu.notes)
    chooses = found(MemoryFacts(sampler=SamplerMemory(share=None, same_weights=True)), device=GIB)
    assert chooses.parts["engine"] == 768 * TOKEN


def test_a_cache_told_in_bytes_lies_beside_the_engines_weights():
    engine = found(MemoryFacts(sampler=SamplerMemory(cache=2 * GIB))).parts["engine"]
    assert engine == 2 * WEIGHTS + 2 * GIB
    travels = found(MemoryFacts(sampler=SamplerMemory(cache=2 * GIB, copies=2))).parts["engine"]
    assert travels == 4 * WEIGHTS + 2 * GIB


def test_a_share_that_cannot_hold_the_model_is_a_shortage():
    """0.3 of 8 GiB are 2.4 GiB, and 8 billion weights of 16 bits are 15."""
    facts = MemoryFacts(sampler=SamplerMemory(share=0.3))
    short = found(facts, device=8 * GIB).shortage
    assert "2.40 GiB" in short
    assert "15.05 GiB" in short
    assert not found(facts, device=80 * GIB).shortage
    assert not found(facts).shortage


def test_fsdp_divides_what_lasts_and_gathers_a_layer_or_all():
    """Root (2 * 128256 * 4096 + 4096) and block (218 112 000) of Llama-3.1-8B, all trained, float32."""
    root, block = 1_050_677_248, 218_112_000
    dims = read_dimensions(LLAMA8)
    assert root + 32 * block == parameters(dims) == WEIGHTS
    assert gathered_bytes(dims, width=2, trained=False) == 2 * (root + 2 * block)
    made = recipe(model=FULL, train={"processes": 4})
    parts = found(MemoryFacts(divided=SHARDED), made, needs_reference=True).parts
    assert parts["weights"] == parts["gradients"] == parts["reference"] == WEIGHTS
    assert parts["optimizer"] == 2 * WEIGHTS
    assert parts["gathered"] == 4 * (root + 2 * block) + 4 * (root + block)
    assert parts["whole_weights"] == 3 * WEIGHTS  # the three quarters that the others hold


def test_ddp_divides_rows_only_and_keeps_the_gradients_twice():
    one = found(MemoryFacts(), recipe(model=FULL)).parts
    facts = MemoryFacts(gradient_copies=1)
    two = found(facts, recipe(model=FULL, train={"processes": 2})).parts
    assert two["gradient_copies"] == one["gradients"] == 4 * WEIGHTS
    assert two["kv_cache"] * 2 == one["kv_cache"] == 32 * 768 * 2 * TOKEN
    assert {two[part] / one[part] for part in ("weights", "optimizer")} == {1.0}


def test_processes_get_whole_groups():
    """Three prompts over two processes: one of them samples two groups."""
    made = recipe(rollout={"prompts": 3, "group": 8, "max_tokens": 512}, train={"processes": 2})
    assert found(MemoryFacts(), made).parts["kv_cache"] == 16 * 768 * TOKEN


def test_offloaded_inputs_leave_one_layer_on_the_device():
    made = recipe(model={"id": "m", "gradient_checkpointing": True}, optim={"micro_batch": 1})
    kept = found(MemoryFacts(), made).parts["activations"]
    away = found(MemoryFacts(offloads=True), made).parts["activations"]
    assert kept - away == 31 * 768 * 4096 * 2


def test_facts_say_rows_and_types():
    made = recipe(optim={"micro_batch": 4})
    whole = found(MemoryFacts(logit_rows=None, generate_rows=2, cache_width=4), made).parts
    assert whole["logits"] == 2 * 4 * (4 * 512) * 128256
    assert whole["kv_cache"] == 2 * 768 * 2 * TOKEN


QWEN = {
    "0.6B": {
        "vocab_size": 151936,
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "tie_word_embeddings": True,
    },
    "4B": {
        "vocab_size": 151936,
        "hidden_size": 2560,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 9728,
        "tie_word_embeddings": True,
    },
}
ENGINE = SamplerMemory(share=0.5, same_weights=True)
TABLE = {  # row of the table in docs/backends.md: facts, recomputation
    ("0.6B", "`hf`"): (MemoryFacts(), False),
    ("0.6B", "`hf`, recomputed"): (MemoryFacts(), True),
    ("0.6B", "`hf` with vLLM, recomputed"): (MemoryFacts(sampler=SamplerMemory(share=0.3)), True),
    ("0.6B", "`unsloth` with vLLM, recomputed"): (
        MemoryFacts(sampler=ENGINE, offloads=True),
        True,
    ),
    ("4B", "`hf`, recomputed"): (MemoryFacts(), True),
    ("4B", "`unsloth` with vLLM, 4 bits, recomputed"): (
        MemoryFacts(packed=PACKED_4BIT, sampler=ENGINE, offloads=True),
        True,
    ),
}


def test_the_table_for_a_gpu_of_8_gb_is_the_estimate():
    """Numbers of docs/backends.md, and what they say: all but one of them leave room."""
    page = (Path(__file__).parents[2] / "docs/backends.md").read_text()
    catalog = Catalog.load()
    for (size, words), (facts, recomputed) in TABLE.items():
        changes = [f"model.gradient_checkpointing={'true' if recomputed else 'false'}"]
        made = load_recipe("gsm8k-qwen", overrides=changes, catalog=catalog).recipe
        peak = estimate(
            made,
            QWEN[size],
            facts=facts,
            prompt_tokens=200,
            shared_prefix="`hf`" in words,  # Unsloth's kernels on a GPU compute each row whole
            device=8 * GIB,
        ).peak
        assert f"| Qwen3-{size} | {words} | {format_bytes(peak)} |" in page, format_bytes(peak)
        assert (peak < 7 * GIB) == ((size, words) != ("4B", "`hf`, recomputed"))
