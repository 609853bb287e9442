"""Another TRL than the plugin knows ends a run before it begins, with a sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import trl

from grpokit.api import PreflightError, Sampling
from grpokit_trl import compat, launch, preflight
from grpokit_trl.backend import TrlBackend
from grpokit_trl.config import TrlConfig


def test_the_installed_trl_has_the_seams():
    assert compat.in_range(trl.__version__)
    compat.check(trl.GRPOTrainer, trl.GRPOConfig)


@pytest.mark.parametrize(
    ("text", "known"),
    [("1.14.0", True), ("1.16.3", True), ("1.13.9", False), ("1.17.0", False), ("", False)],
)
def test_which_releases_are_known(text: str, known: bool):
    assert compat.in_range(text) == known


@pytest.mark.parametrize(
    ("found", "device", "kernel", "plain"),
    [
        ("1.14.2", "cpu", False, False),
        ("1.15.0", "cpu", True, True),  # also where there is a GPU that is not used
        ("1.15.0", "cuda", True, False),
        ("1.15.0", "cuda", False, True),
        ("1.16.0", "cpu", False, False),
    ],
)
def test_the_kernel_of_trl_1_15_is_used_on_gpus_alone(monkeypatch, found, device, kernel, plain):
    monkeypatch.setattr(compat, "version", lambda: found)
    monkeypatch.setattr(compat, "find_spec", lambda _: object() if kernel else None)
    assert compat.plain_logps(device) == plain


@pytest.mark.parametrize("name", [name for name, wanted in compat.SEAMS.items() if wanted])
def test_a_seam_that_moved_is_named(name: str):
    class Moved(trl.GRPOTrainer):
        pass

    def other(self: Any, something: Any, else_: Any) -> None:
        """Takes other things."""

    setattr(Moved, name, other)
    with pytest.raises(PreflightError, match=f"GRPOTrainer.{name} takes") as error:
        compat.check(Moved, trl.GRPOConfig)
    assert "pip install 'trl>=1.14,<1.17'" in error.value.remedy


def test_a_seam_that_went_is_named():
    class Bare:
        pass

    with pytest.raises(PreflightError, match="has no method _generate_and_score_completions"):
        compat.check(Bare, trl.GRPOConfig)
    with pytest.raises(PreflightError, match="GRPOConfig has no setting beta"):
        compat.check(trl.GRPOTrainer, type("Empty", (), {"__dataclass_fields__": {}}))


@pytest.mark.parametrize(("found", "code"), [("", "TRL001"), ("1.13.0", "TRL002")])
def test_preflight_says_what_to_install(monkeypatch, make_recipe, found: str, code: str):
    monkeypatch.setattr(compat, "version", lambda: found)
    problems = {p.code: p for p in preflight.preflight(make_recipe()).problems}
    assert problems[code].level == "error"
    assert "pip install 'trl>=1.14,<1.17'" in problems[code].remedy


def test_preflight_of_a_recipe_that_runs_here(make_recipe):
    found = preflight.preflight(make_recipe())
    assert found.problems == ()
    assert found.versions["trl"] == trl.__version__
    assert found.dimensions["num_hidden_layers"] == 2
    assert found.render is not None
    assert found.device.startswith("cpu")


def test_preflight_names_packages_that_a_setting_needs(make_recipe):
    settings = {
        "vllm": "colocate",
        "accelerate_config": "zero2",
        "args": {"use_liger_kernel": True},
    }
    recipe = make_recipe(backend={"use": "trl", "with": settings})
    facts = " ".join(p.fact for p in preflight.preflight(recipe).problems)
    for package in ("vllm", "liger-kernel", "deepspeed"):
        assert f"package {package}" in facts


def test_an_accelerate_configuration_becomes_its_environment(tmp_path):
    found = launch.apply("fsdp2", {"WORLD_SIZE": "2"})
    assert found["ACCELERATE_USE_FSDP"] == "true"
    assert found["FSDP_VERSION"] == "2"
    assert "ACCELERATE_MIXED_PRECISION" not in found  # the recipe's dtype decides
    assert not {"RANK", "MASTER_PORT"} & set(found)
    with pytest.raises(PreflightError, match="no accelerate configuration 'fsdp9'"):
        launch.find("fsdp9")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("distributed_type: MULTI_GPU\nnonsense: 1\n")
    with pytest.raises(PreflightError, match="accelerate refuses the configuration"):
        launch.apply(str(wrong), {})


@pytest.mark.parametrize(
    "settings", [{"accelerate_config": "fsdp2"}, {"args": {"fsdp": "full_shard"}}]
)
def test_shards_without_a_gpu_are_refused_and_not_ignored(make_recipe, open_backend, settings):
    before = dict(os.environ)
    recipe = make_recipe(backend={"use": "trl", "with": {**settings, "device": "cpu"}})
    problems = {p.code: p for p in preflight.preflight(recipe).problems}
    assert "TRL006" in problems
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(PreflightError, match="FSDP is asked for"):
        open_backend(recipe)
    changed = {key for key in {*before, *os.environ} if before.get(key) != os.environ.get(key)}
    assert not {key for key in changed if key.startswith(launch.PREFIXES)}


@pytest.mark.parametrize(
    ("args", "fact"),
    [
        ({"debug": "nonsense"}, "not a valid DebugOption"),
        ({"cache_implementation": "nonsense"}, "Invalid `cache_implementation`"),
        ({"generation_kwargs": {"no_repeat_ngram": 3}}, "nothing that transformers generates with"),
    ],
)
def test_trl_refuses_a_setting_with_a_sentence(make_recipe, args, fact):
    recipe = make_recipe(backend={"use": "trl", "with": {"device": "cpu", "args": args}})
    backend = TrlBackend(TrlConfig.model_validate(recipe.backend.with_))
    with pytest.raises(PreflightError, match=fact) as error:
        backend.open(recipe, needs_reference=False, needs_entropy=False)
    assert error.value.place.startswith("backend.with")
    scratch = backend._scratch  # where TRL may put files
    backend.close()
    assert scratch is None or not Path(scratch.name).exists()


def test_a_generation_that_fails_of_its_settings_is_no_bug(make_recipe, open_backend, make_prompts):
    args = {"generation_kwargs": {"no_repeat_ngram_size": "three"}}
    backend = open_backend(
        make_recipe(backend={"use": "trl", "with": {"device": "cpu", "args": args}})
    )
    with pytest.raises(PreflightError, match="TRL refuses the settings"):
        backend.generate(make_prompts(), Sampling(group=2, max_tokens=4, seed=1, step=1))


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("a: [1,", "cannot be read"),
        ("- 1\n- 2\n", "distributed_type is missing"),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config: {gradient_accumulation_steps: 4}\n",
            "optim.micro_batch",
        ),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config: {gradient_clipping: 1.0}\n",
            "optim.max_grad_norm",
        ),
        ("distributed_type: MEGATRON_LM\n", "does not run distributed_type MEGATRON_LM"),
        ("distributed_type: 'NO'\ndynamo_config: {dynamo_backend: INDUCTOR}\n", "compiles"),
        (
            "distributed_type: MULTI_GPU\nparallelism_config: {parallelism_config_tp_size: 2}\n",
            "parallelism_config_tp_size would cut up",
        ),
    ],
)
def test_an_accelerate_configuration_that_is_none_of_ours_is_refused_by_the_plan(
    make_recipe, tmp_path, text, fact
):
    path = tmp_path / "zero.yaml"
    path.write_text(text)
    settings = {"device": "cpu", "accelerate_config": str(path)}
    recipe = make_recipe(backend={"use": "trl", "with": settings})
    problems = {p.code: p for p in preflight.preflight(recipe).problems}
    assert set(problems) == {"TRL005"}  # nothing is guessed from the file's name
    assert fact in problems["TRL005"].fact
    with pytest.raises(PreflightError, match=fact):
        launch.apply(str(path), {})


@pytest.mark.parametrize("name", launch.NAMES)
def test_what_trl_ships_is_read(name):
    kinds = {"fsdp1": "FSDP", "fsdp2": "FSDP", "zero1": "DeepSpeed", "zero2": "DeepSpeed"}
    assert launch.kind(name) == {**kinds, "zero3": "DeepSpeed"}.get(name, "")


@pytest.mark.parametrize(
    ("model", "args", "fact"),
    [
        ({}, {"gradient_checkpointing_kwargs": {"use_reentrant": True}}, "does nothing"),
        (
            {"lora": None, "dtype": "bfloat16"},
            {"use_transformers_continuous_batching": True},
            "casts the trained float32 weights",
        ),
    ],
)
def test_a_setting_that_does_not_go_with_the_recipe_is_refused(make_recipe, model, args, fact):
    recipe = make_recipe(model=model, backend={"use": "trl", "with": {"args": args}})
    assert fact in " ".join(p.fact for p in preflight.preflight(recipe).problems)
    backend = TrlBackend(TrlConfig.model_validate(recipe.backend.with_))
    with pytest.raises(PreflightError, match=fact):
        backend.open(recipe, needs_reference=False, needs_entropy=False)


def test_liger_without_a_gpu_is_refused(make_recipe):
    settings = {"device": "cpu", "args": {"use_liger_kernel": True}}
    recipe = make_recipe(backend={"use": "trl", "with": settings})
    assert "TRL008" in {p.code for p in preflight.preflight(recipe).problems}


def test_trls_own_algorithm_has_no_say(make_recipe, open_backend):
    args = open_backend(make_recipe()).trainer.args
    assert (args.beta, args.loss_type, args.scale_rewards) == (0.0, "grpo", "none")
    assert args.vllm_importance_sampling_correction is False
    assert args.report_to == []
    assert args.save_strategy == "no"


def test_no_compiler_is_missed(make_recipe, monkeypatch, tmp_path):
    """None of grpokit's C code runs under TRL's loop."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    codes = {p.code for p in preflight.preflight(make_recipe()).problems}
    assert "HF019" not in codes
