"""What a run on this backend becomes for others: a merged model, an adapter, a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpokit.api import ExportRequest, PreflightError, Prompt, Sampling

QUESTION = ({"role": "user", "content": "2+2?"},)


def export_weights(request: ExportRequest) -> Any:
    """As a run on this backend is exported."""
    from grpokit.registry.catalog import Catalog
    from grpokit.registry.resolve import resolve

    entry = Catalog.load().find("backend", "unsloth")
    return resolve(entry.spec.export, entry)(request)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policy")


@pytest.fixture
def request_of(make_recipe, open_backend, prompts: list[Prompt], policy: Path, tmp_path) -> Any:
    """An export of an adapter that this backend trained."""
    from updates import advantages_of, everything, token_loss

    if not (policy / "adapter_config.json").is_file():
        backend = open_backend(make_recipe(optim={"lr": 0.1}))
        for step in (1, 2):
            rollout = backend.generate(prompts, Sampling(group=4, max_tokens=8, seed=7, step=step))
            backend.update(token_loss, rollout, advantages_of(rollout), everything(rollout), step)
        backend.save_policy(policy)

    def make(form: Any, folder: Path | None = None, **settings: Any) -> tuple[Any, list[str]]:
        said: list[str] = []
        (tmp_path / form).mkdir()
        recipe = make_recipe(folder, backend={"with": settings})
        return (
            ExportRequest(
                recipe=recipe,
                policy=policy,
                out=tmp_path / form,
                form=form,
                prompts=(QUESTION,),
                say=said.append,
            ),
            said,
        )

    return make


@pytest.mark.parametrize("form", ["merged", "adapter", "gguf"])
def test_each_form_is_written_and_proved(request_of: Any, form: str) -> None:
    """The proof itself asks that what was written answers as the trained model, and unlike the base."""
    request, said = request_of(form)
    result = export_weights(request)
    assert result.files
    assert result.proof["moved"]["max"] > 0
    assert "4 bits" not in " ".join(said + list(result.proof.get("notes", ())))


def test_a_run_in_four_bits_is_merged_into_the_files_and_says_so(request_of: Any) -> None:
    from safetensors.torch import load_file

    request, _ = request_of("merged", load_in_4bit=True)
    result = export_weights(request)
    assert "rounded to 4 bits" in " ".join(result.proof["notes"])
    weights = load_file(request.out / "model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float32"}


def test_files_in_four_bits_are_refused(
    request_of: Any, tiny_model_folder: Path, tmp_path: Path
) -> None:
    """As of a base model from the hub that somebody else has quantised."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    packed = tmp_path / "packed"
    shutil.copytree(tiny_model_folder, packed)
    weights = load_file(packed / "model.safetensors")
    save_file(
        {name: w.to(torch.uint8) if w.ndim == 2 else w for name, w in weights.items()},
        packed / "model.safetensors",
    )
    request, _ = request_of("merged", packed)
    with pytest.raises(PreflightError, match="of type U8, which cannot be merged"):
        export_weights(request)
