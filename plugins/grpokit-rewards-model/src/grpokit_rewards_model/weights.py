"""The folder of a reward model, checked before it is loaded: safetensors, no foreign code, a head."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from grpokit.api import ComponentError

__all__ = ["check_extra", "find_folder", "load_model", "load_tokenizer"]

PLAIN_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
HEAD = "ForSequenceClassification"


def check_extra() -> None:
    """Raises a ComponentError where the extra is not installed."""
    for module in ("torch", "transformers", "safetensors", "huggingface_hub"):
        _extra(module)


def find_folder(model: str, revision: str) -> Path:
    """The folder of a model: itself, or the snapshot of a hub id that was downloaded before.

    Nothing is downloaded here: this runs while a run starts, in a process with a deadline.

    Raises:
        ComponentError: there is none, or it is not safe to load.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision:
            raise _error(
                "a folder has no revision", folder, "leave `revision` out, or give a hub id"
            )
    elif model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise _error(
            f"there is no model folder {model!r}", folder, "give an existing folder or a hub id"
        )
    else:
        folder = _snapshot(model, revision)
    _check(folder)
    return folder


def _snapshot(model: str, revision: str) -> Path:
    if not revision:
        raise _error(
            f"{model} is a hub id without `revision`",
            Path(model),
            "pin it to a commit, all 40 digits, so that the reward stays the same",
        )
    hub = _extra("huggingface_hub")
    try:
        return Path(hub.snapshot_download(model, revision=revision, local_files_only=True))
    except Exception as error:  # the hub client raises errors of several libraries
        raise _error(
            f"{model} at {revision[:10]} is not on this machine",
            Path(model),
            f"bring it first: hf download {model} --revision {revision}",
        ) from error


def _check(folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _error(
            "there is no config.json that can be read", folder, "give a model's folder"
        ) from error
    heads = config.get("architectures") or []
    if not any(str(name).endswith(HEAD) for name in heads):
        named = ", ".join(map(str, heads)) or "nothing"
        raise _error(
            f"it is no reward model: its config names {named}, not a ...{HEAD}",
            folder,
            "take a model whose last layer was trained to score",
        )
    if not any(folder.glob("*.safetensors")):
        raise _error(
            "there are no *.safetensors files",
            folder,
            "take a model with safetensors weights; pickles, which can run code, are not read",
        )
    _scan(config, folder)


def _scan(config: Mapping[str, Any], folder: Path) -> None:
    """Refuses settings that make transformers fetch and run code (CVE-2026-4372 among them)."""
    for key, value in config.items():
        if isinstance(value, dict):
            _scan(value, folder)
        named = key.startswith(("_attn", "attn_implementation"))
        kernel = named and value is not None and value not in PLAIN_ATTENTION
        if kernel or key in ("_attn_implementation_internal", "_experts_implementation_internal"):
            raise _error(
                f"{key}: {value!r} in its config would make transformers run code from the hub",
                folder,
                "remove the key if you trust the model otherwise",
            )


def load_tokenizer(folder: Path, *, chat: bool) -> Any:
    """The model's tokenizer, with a chat template where one is needed."""
    transformers = _extra("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder, trust_remote_code=False, local_files_only=True
    )
    if chat and not tokenizer.chat_template:
        raise _error(
            "its tokenizer has no chat template",
            folder,
            "use `form: pair` or `form: completion`, whichever the model was trained on",
        )
    return tokenizer


def load_model(folder: Path, *, device: str, dtype: str, threads: int | None) -> tuple[Any, str]:
    """The model, ready to score, and where it is.

    Raises:
        ComponentError: a weight is missing. It would be random, and so would be every score.
    """
    torch, transformers = _extra("torch"), _extra("transformers")
    if threads is not None:
        torch.set_num_threads(threads)
    place = device
    if device == "auto":
        place = "cuda" if torch.cuda.is_available() else "cpu"
    model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    lost = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
    if lost:
        raise _error(
            f"{len(lost)} of its weights are missing or of another shape, first {lost[0]}",
            folder,
            "take a model that was saved as a sequence classifier, whole",
        )
    return model.to(place).eval(), place


def _extra(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ComponentError(
            f"the reward reward-model needs {error.name}, which is not installed",
            remedy='pip install "grpokit-rewards-model[model]"',
        ) from error


def _error(fact: str, folder: Path, remedy: str) -> ComponentError:
    return ComponentError(fact, place=str(folder), remedy=remedy)
