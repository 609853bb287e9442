"""Where a model is: a catalogued name, a local folder, or a hub id. No torch, no network.

``locate`` looks; ``ensure`` brings what is missing and returns a checked folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grpokit.api import PreflightError, models
from grpokit_hf.text.tokenizer import read_json

__all__ = ["Located", "check_folder", "ensure", "hub_cache", "hub_snapshot", "locate"]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
PLAIN_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
FILES = (
    "*.json",
    "*.jinja",
    "*.safetensors",
)
"""What is brought from the hub: no code, no pickles."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """What ``model.id`` means here. ``folder`` is None if it has to be brought first."""

    id: str
    kind: Literal["catalogue", "folder", "hub"]
    folder: Path | None
    revision: str | None = None
    entry: Any = None


def locate(
    model_id: str, revision: str | None = None, environ: Mapping[str, str] | None = None
) -> Located:
    """Catalogued name first, then a folder that exists or looks like a path, then the hub's cache."""
    environ = os.environ if environ is None else environ
    entry = models.find(model_id)
    if entry is not None:
        return Located(
            id=model_id, kind="catalogue", folder=models.ready(entry, environ), entry=entry
        )
    path = Path(model_id).expanduser()
    if model_id and path.is_dir():
        return Located(id=model_id, kind="folder", folder=path)
    if model_id.startswith((".", "/", "~", "\\")) or not HUB_ID.fullmatch(model_id):
        raise PreflightError(
            f"there is no model folder {model_id!r}",
            place=str(path.absolute().parent),
            remedy="give an existing folder, a hub id such as `org/name`, "
            "or a name that `grpokit models list` prints",
        )
    folder = hub_snapshot(model_id, revision, environ)
    return Located(id=model_id, kind="hub", folder=folder, revision=revision)


def ensure(
    located: Located,
    say: Callable[[str], None] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Path:
    """The model's folder, brought if need be, and safe to load."""
    if located.kind == "catalogue":
        folder = models.bring(located.entry, say=say, environ=environ)
    elif located.folder is not None:
        folder = located.folder
    else:
        folder = download(located, os.environ if environ is None else environ)
    check_folder(folder)
    return folder


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps models."""
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"]).expanduser()
    if environ.get("HF_HOME"):
        return Path(environ["HF_HOME"]).expanduser() / "hub"
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "huggingface" / "hub"


def hub_snapshot(
    model_id: str, revision: str | None, environ: Mapping[str, str] | None = None
) -> Path | None:
    """The complete snapshot in the hub's cache, or None."""
    environ = os.environ if environ is None else environ
    store = hub_cache(environ) / f"models--{model_id.replace('/', '--')}"
    name = revision or "main"
    reference = store / "refs" / name
    commit = reference.read_text().strip() if reference.is_file() else name
    folder = store / "snapshots" / commit
    return folder if complete(folder) else None


def complete(folder: Path) -> bool:
    """Config, tokenizer and every weight file are there."""
    if not (folder / "config.json").is_file() or not (folder / "tokenizer.json").is_file():
        return False
    index = read_json(folder / "model.safetensors.index.json").get("weight_map", {})
    names = set(index.values()) or {"model.safetensors"}
    return all((folder / name).is_file() for name in names)


def download(located: Located, environ: Mapping[str, str]) -> Path:
    """Brings a hub model; only data, never code."""
    command = "hf download " + located.id
    if located.revision:
        command += f" --revision {located.revision}"
    remedy = (
        f"run `{command}` where there is a network and copy {hub_cache(environ)} here, or take a "
        "model that needs no hub: `--set model.id=smollm2-135m-instruct`"
    )
    if environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise PreflightError(
            f"{located.id} is not in the hub's cache, and HF_HUB_OFFLINE is set",
            place="model.id",
            remedy=remedy,
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                located.id, revision=located.revision, allow_patterns=list(FILES), max_workers=4
            )
        )
    except Exception as error:  # the hub client raises errors of several network libraries
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PreflightError(
            f"{located.id} cannot be brought from the hub: {first}", place="model.id", remedy=remedy
        ) from error


def check_folder(folder: Path) -> None:
    """Refuses folders that are no model, hold only pickled weights, or ask for foreign code."""
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        raise PreflightError(
            "this is an adapter, not a model" if adapter else "there is no config.json",
            place=str(folder),
            remedy="give the base model as model.id; `grpokit eval` reads adapters"
            if adapter
            else "give the folder that save_pretrained wrote",
        )
    if not any(folder.glob("*.safetensors")):
        pickled = next((p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pt"))), None)
        raise PreflightError(
            f"the weights are a pickle ({pickled}), which can run code when it is read"
            if pickled
            else "there are no *.safetensors files",
            place=str(folder),
            remedy="take a model with safetensors weights, or convert it: load it with transformers "
            "on a machine that you trust and call save_pretrained",
        )
    scan(read_json(folder / "config.json"), folder / "config.json")


def scan(config: Mapping[str, Any], place: Path) -> None:
    """Refuses settings that make transformers fetch and run code (CVE-2026-4372 among them)."""
    for key, value in config.items():
        if isinstance(value, dict):
            scan(value, place)
        named = key.startswith(("_attn", "attn_implementation"))
        kernel = named and (value is not None and value not in PLAIN_ATTENTION)
        if kernel or key in ("_attn_implementation_internal", "_experts_implementation_internal"):
            raise PreflightError(
                f"{key}: {value!r} would make transformers run code from the hub",
                place=str(place),
                remedy="remove the key if you trust the model otherwise",
            )
