"""Another TRL than the plugin knows ends a run before it begins, with a sentence."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
import trl

from grpokit.api import PreflightError
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
    wrong.write_text("compute_environment: LOCAL_MACHINE\nnonsense: 1\n")
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


def test_trl_refuses_a_setting_with_a_sentence(make_recipe):
    recipe = make_recipe(
        backend={
            "use": "trl",
            "with": {"device": "cpu", "args": {"accelerator_config": {"nonsense": 1}}},
        }
    )
    backend = TrlBackend(TrlConfig.model_validate(recipe.backend.with_))
    with pytest.raises(PreflightError, match="TRL refuses the settings"):
        backend.open(recipe, needs_reference=False, needs_entropy=False)


def test_trls_own_algorithm_has_no_say(make_recipe, open_backend):
    args = open_backend(make_recipe()).trainer.args
    assert (args.beta, args.loss_type, args.scale_rewards) == (0.0, "grpo", "none")
    assert args.vllm_importance_sampling_correction is False
    assert args.report_to == []
    assert args.save_strategy == "no"
