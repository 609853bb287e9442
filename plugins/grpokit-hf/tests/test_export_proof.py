"""The proof of an export: a merge or an adapter that is wrong is refused, whatever is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from grpokit.api import CheckpointError, Recipe
from grpokit_hf.export import weights
from grpokit_hf.export.proof import Reading, Reference
from grpokit_hf.export.verdict import judge


def base_only(model: Any, source: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(source.base, dtype=torch.float32)


def half(model: Any, source: Any) -> Any:
    base = dict(base_only(model, source).named_parameters())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_((weight + base[name]) / 2)
    return model


def one_forgotten(model: Any, source: Any) -> Any:
    name = "model.layers.1.mlp.up_proj.weight"
    base = dict(base_only(model, source).named_parameters())
    with torch.no_grad():
        model.get_parameter(name).copy_(base[name])
    return model


def norm_moved(model: Any, source: Any) -> Any:
    with torch.no_grad():
        model.model.norm.weight *= 1 + 1e-4
    return model


def too_large(model: Any, source: Any) -> Any:
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0] = 1e6
    return model


@pytest.mark.parametrize("where", ["trained", "written", "base"])
def test_no_number_is_no_proof(where: str) -> None:
    """NaN is neither above nor below what is allowed."""
    torch.manual_seed(0)
    said = {name: torch.randn(3, 5).log_softmax(-1) for name in ("trained", "base")}
    said["written"] = said["trained"].clone()
    said[where][1, 2] = torch.nan
    reading = {
        name: Reading(answers=[(1, 2)], logprobs=[table], loader="x")
        for name, table in said.items()
    }
    found = Reference(
        trained=reading["trained"], base=reading["base"], adapted=frozenset(), prompts=[]
    )
    with pytest.raises(CheckpointError, match="not proved"):
        judge(found, reading["written"], "float32", "here")


def test_impossible_tokens_are_compared() -> None:
    """A model may give a token no probability at all."""
    torch.manual_seed(0)
    trained, base = torch.randn(2, 3, 5)
    trained[:, 4] = base[:, 4] = -torch.inf
    trained, base = trained.log_softmax(-1), base.log_softmax(-1)
    found = Reference(
        trained=Reading(answers=[(1,)], logprobs=[trained]),
        base=Reading(logprobs=[base]),
        adapted=frozenset(),
        prompts=[],
    )
    written = Reading(answers=[(1,)], logprobs=[trained.clone()], loader="x")
    assert judge(found, written, "float32", "here")["difference"]["max"] == 0.0
    written.logprobs[0][0, 1] = -torch.inf
    with pytest.raises(CheckpointError, match="no numbers"):
        judge(found, written, "float32", "here")


@pytest.mark.parametrize(
    ("mutant", "reason", "kind"),
    [
        (base_only, "every written weight is that of the base model", "float32"),
        (base_only, "every written weight is that of the base model", "bfloat16"),
        (half, "log-probabilities", "float32"),
        (half, "log-probabilities", "bfloat16"),
        (one_forgotten, "1 of 14 trained weights", "float32"),
        (one_forgotten, "1 of 14 trained weights", "bfloat16"),
        (too_large, "no numbers.*wider type", "float16"),
        (norm_moved, "changed, which was not trained", "float32"),
    ],
)
def test_a_wrong_merge_is_refused(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    monkeypatch: pytest.MonkeyPatch,
    mutant: Callable[[Any, Any], Any],
    reason: str,
    kind: str,
) -> None:
    whole = weights.merge
    monkeypatch.setattr(weights, "merge", lambda source: mutant(whole(source), source))
    recipe = make_recipe()
    with pytest.raises(CheckpointError, match=f"not proved: .*{reason}"):
        export(recipe, make_policy(recipe), "merged", kind)


def test_a_wrong_adapter_is_refused(
    make_recipe: Callable[..., Recipe],
    make_policy: Any,
    export: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = weights.write_adapter

    def doubled(source: Any, folder: Path) -> None:
        whole(source, folder)
        path = folder / "adapter_model.safetensors"
        tensors = load_file(path)
        save_file({k: 2 * v if "lora_B" in k else v for k, v in tensors.items()}, path)

    monkeypatch.setattr(weights, "write_adapter", doubled)
    recipe = make_recipe()
    with pytest.raises(CheckpointError, match="not proved: log-probabilities"):
        export(recipe, make_policy(recipe), "adapter")
