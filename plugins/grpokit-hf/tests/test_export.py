"""Exported weights answer as the trained model does; a merge that fails to is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from grpokit.api import (
    CheckpointError,
    ExportRequest,
    PreflightError,
    Recipe,
    Sampling,
)
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.export import weights
from grpokit_hf.export.source import open_source
from grpokit_hf.export.usage import usage_of
from grpokit_hf.export.write import write_adapter
from grpokit_hf.locate import Located
from talks import TALKS


def own_answers(recipe: Recipe, policy: Path, make_prompts: Callable[..., Any]) -> list[str]:
    """What grpokit's own sampler says with the saved policy."""
    backend = HfBackend(HfConfig.model_validate(recipe.backend.with_))
    backend.open_checkpoint(recipe, policy)
    sampling = Sampling(group=1, max_tokens=32, seed=1, step=0, temperature=0.0)
    rollout = backend.generate(make_prompts(*(talk[0]["content"] for talk in TALKS)), sampling)
    backend.close()
    return [group[0].text for group in rollout.completions]


def plain_answers(folder: Path, loader: str = "AutoTokenizer") -> list[str]:
    """What a stranger gets, who knows transformers and nothing else."""
    import transformers

    tokenizer = getattr(transformers, loader).from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    answers = []
    for talk in TALKS:
        inputs = tokenizer.apply_chat_template(
            list(talk), add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        out = model.generate(**inputs, max_new_tokens=32, do_sample=False)
        start = inputs["input_ids"].shape[1]
        answers.append(tokenizer.decode(out[0, start:], skip_special_tokens=True))
    return answers


def test_merged_answers_as_the_sampler_does(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    make_prompts: Any,
    tmp_path: Path,
) -> None:
    recipe = make_recipe()
    policy = make_policy(recipe)
    result = export(recipe, policy, "merged")
    proof = result.proof
    assert proof["type"] == "float32"
    assert proof["answers"] == {"prompts": 4, "equal": 4, "ties": 0, "other": 0}
    assert proof["difference"]["max"] < 1e-4
    assert proof["moved"]["max"] > 0.1
    assert proof["weights"]["changed"] == 14  # seven modules in two layers, and nothing else
    assert proof["weights"]["base"] != proof["weights"]["written"]
    assert plain_answers(tmp_path / "out") == own_answers(recipe, policy, make_prompts)
    config = (tmp_path / "out" / "config.json").read_text()
    assert str(tmp_path) not in config
    assert "model.safetensors" in result.files


@pytest.mark.parametrize("targets", [["embed_tokens"], ["q_proj", "embed_tokens"]])
def test_adapters_of_embeddings(
    make_recipe: Callable[..., Recipe], make_policy: Any, export: Any, targets: list[str]
) -> None:
    """Their factors are called otherwise, and it is A that begins as zero."""
    recipe = make_recipe(model={"lora": {"rank": 4, "alpha": 8, "targets": targets}})
    result = export(recipe, make_policy(recipe), "merged")
    assert result.proof["weights"]["changed"] == (1 if len(targets) == 1 else 3)


def test_rounding_is_measured(
    make_recipe: Callable[..., Recipe], make_policy: Any, export: Any, tmp_path: Path
) -> None:
    recipe = make_recipe()
    result = export(recipe, make_policy(recipe), "merged", "bfloat16")
    assert 1e-4 < result.proof["difference"]["max"] < 0.5
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


def test_what_rounding_would_swallow_is_refused(
    make_recipe: Callable[..., Recipe], make_policy: Any, export: Any
) -> None:
    recipe = make_recipe()
    with pytest.raises(CheckpointError, match=r"not proved.*--dtype float32"):
        export(recipe, make_policy(recipe, spread=1e-5), "merged", "bfloat16")


def test_qwen_with_tied_head_and_foreign_tokenizer(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    make_prompts: Any,
    tiny_qwen_folder: Path,
    tmp_path: Path,
) -> None:
    recipe = make_recipe(tiny_qwen_folder)
    policy = make_policy(recipe)
    result = export(recipe, policy, "merged")
    # transformers takes Qwen's own tokenizer class for this architecture, which reads other tokens
    assert result.proof["tokenizer"] == "PreTrainedTokenizerFast"
    assert "PreTrainedTokenizerFast.from_pretrained" in result.usage
    said = plain_answers(tmp_path / "out", "PreTrainedTokenizerFast")
    assert said == own_answers(recipe, policy, make_prompts)


def test_a_date_in_the_template_hides_no_foreign_tokenizer(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    tiny_qwen_folder: Path,
    tmp_path: Path,
) -> None:
    """Questions are never read as in training then, so the tokenizers are asked without template."""
    path = tmp_path / "dated.jinja"
    path.write_text(
        "{{ strftime_now('%f') }}" + (tiny_qwen_folder / "chat_template.jinja").read_text()
    )
    recipe = make_recipe(tiny_qwen_folder, model={"chat_template": str(path)})
    result = export(recipe, make_policy(recipe), "merged")
    assert result.proof["tokenizer"] == "PreTrainedTokenizerFast"


def test_four_bits_are_told(
    make_recipe: Callable[..., Recipe], make_policy: Any, export: Any
) -> None:
    recipe = make_recipe()
    policy = make_policy(recipe)
    backend = recipe.backend.model_copy(update={"with_": {"load_in_4bit": True}})
    result = export(recipe.model_copy(update={"backend": backend}), policy, "adapter")
    assert "rounded to 4 bits" in result.proof["notes"][-1]


def test_all_weights_trained(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    make_prompts: Any,
    tmp_path: Path,
) -> None:
    recipe = make_recipe(model={"lora": None})
    policy = make_policy(recipe)
    result = export(recipe, policy, "merged")
    assert result.about["adapter"] == ""
    assert result.proof["weights"]["changed"] > 14
    assert plain_answers(tmp_path / "out") == own_answers(recipe, policy, make_prompts)


def test_a_full_policy_that_did_not_move_is_refused(
    make_recipe: Callable[..., Recipe], make_policy: Any, export: Any
) -> None:
    recipe = make_recipe(model={"lora": None})
    with pytest.raises(CheckpointError, match="is that of the base model"):
        export(recipe, make_policy(recipe, spread=0.0), "merged")


def test_a_full_policy_has_no_adapter(
    make_recipe: Callable[..., Recipe], make_policy: Any, export: Any
) -> None:
    recipe = make_recipe(model={"lora": None})
    with pytest.raises(PreflightError, match="no adapter"):
        export(recipe, make_policy(recipe), "adapter")


def test_the_adapter_loads_with_peft(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    tiny_model_folder: Path,
    tmp_path: Path,
) -> None:
    from peft import AutoPeftModelForCausalLM

    recipe = make_recipe()
    result = export(recipe, make_policy(recipe), "adapter")
    assert result.proof["answers"]["equal"] == 4
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_model_folder.resolve())
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out")
    assert any(bool(w.any()) for name, w in loaded.named_parameters() if "lora_B" in name)


@pytest.mark.parametrize(
    ("kind", "model_id", "name"),
    [("hub", "org/name", "org/name"), ("catalogue", "tiny-sums", "tiny-sums")],
)
def test_an_adapter_names_no_folder_of_a_cache(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    kind: Any,
    model_id: str,
    name: str,
    tmp_path: Path,
) -> None:
    recipe = make_recipe()
    request = ExportRequest(
        recipe=recipe, policy=make_policy(recipe), out=tmp_path, form="adapter", prompts=TALKS
    )
    source = open_source(request)
    elsewhere = replace(
        source, located=Located(id=model_id, kind=kind, folder=source.base, revision="v1")
    )
    write_adapter(elsewhere, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == name
    assert config["revision"] == ("v1" if kind == "hub" else None)
    code = usage_of(request, elsewhere, "AutoTokenizer")
    assert name in code
    assert str(source.base) not in code
    compile(code, "card", "exec")


def test_an_untrained_adapter_is_refused(
    make_recipe: Callable[..., Recipe], make_policy: Any, export: Any
) -> None:
    recipe = make_recipe()
    with pytest.raises(CheckpointError, match="changes nothing"):
        export(recipe, make_policy(recipe, spread=0.0), "merged")


@pytest.mark.parametrize("form", ["merged", "adapter"])
@pytest.mark.parametrize(
    ("shape", "reason"), [({"layers": 1}, "did not arrive"), ({"hidden": 64}, "does not fit")]
)
def test_an_adapter_of_another_model_is_refused(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    make_tiny_model: Any,
    form: str,
    shape: dict[str, int],
    reason: str,
) -> None:
    policy = make_policy(make_recipe())
    with pytest.raises(CheckpointError, match=reason):
        export(make_recipe(make_tiny_model("other", **shape)), policy, form)


def test_the_end_of_turn_is_repaired(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    make_prompts: Any,
    make_tiny_model: Any,
    tmp_path: Path,
) -> None:
    recipe = make_recipe(make_tiny_model("odd", eos="<|im_start|>", pad=None))
    policy = make_policy(recipe)
    result = export(recipe, policy, "merged")
    settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert settings["eos_token"] == "<|im_end|>"
    assert settings["pad_token"] == "<unk>"
    ends = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert ends["eos_token_id"] == 2
    assert "opens turns" in result.about["notes"][0]
    assert plain_answers(tmp_path / "out") == own_answers(recipe, policy, make_prompts)


def test_penalties_of_the_base_are_left_out(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    make_prompts: Any,
    make_tiny_model: Any,
    tmp_path: Path,
) -> None:
    """A repetition penalty in the base's own file would change greedy answers."""
    folder = make_tiny_model("fined")
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "repetition_penalty": 1.5}))
    recipe = make_recipe(folder)
    policy = make_policy(recipe)
    export(recipe, policy, "merged")
    assert plain_answers(tmp_path / "out") == own_answers(recipe, policy, make_prompts)


def test_a_full_disk_is_said_before_any_work(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    recipe = make_recipe()
    policy = make_policy(recipe)
    usage = weights.shutil.disk_usage("/")
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    with pytest.raises(CheckpointError, match=r"needs 0\.00 GB, 0\.00 GB are free"):
        export(recipe, policy, "merged")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("form", "kind"), [("merged", "q8_0"), ("gguf", "q3"), ("adapter", "f16")])
def test_types_of_another_form_are_refused(
    make_recipe: Callable[..., Recipe], make_policy: Any, export: Any, form: str, kind: str
) -> None:
    recipe = make_recipe()
    with pytest.raises(PreflightError):
        export(recipe, make_policy(recipe), form, kind)
