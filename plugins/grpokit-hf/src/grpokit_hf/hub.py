"""The `hub` data set: rows of a data set on the Hugging Face hub, or of its local cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from grpokit.api import Config, PreflightError
from grpokit_hf.locate import hub_cache
from grpokit_hf.machine import hub_reachable

__all__ = ["HubConfig", "HubDataset", "is_cached", "open_hub"]


class HubConfig(Config):
    """Settings of the `hub` data set."""

    id: str = Field(min_length=1)
    """Data set on the hub, such as `openai/gsm8k`."""
    name: str | None = None
    """Configuration of the data set, such as `main`."""
    split: str = "train"
    """Split; slices like `train[:1000]` work."""
    revision: str | None = None
    """Commit, tag or branch. A commit makes the run repeatable."""


class HubDataset:
    """Rows by position, read from the memory-mapped cache of the datasets library."""

    def __init__(self, table: Any, config: HubConfig) -> None:
        self._table = table
        self._config = config

    @property
    def size(self) -> int | None:
        return len(self._table)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._table.column_names)

    @property
    def fingerprint(self) -> str:
        """Hash of what was asked for, of the number of rows, and of the first and last of them."""
        size = len(self._table)
        edge = [*range(min(size, 16)), *range(max(0, size - 16), size)]
        parts = [self._config.model_dump_json(), str(size), *(repr(self[i]) for i in edge)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        row: dict[str, Any] = self._table[index]
        return row


def open_hub(config: HubConfig) -> HubDataset:
    """Opens the data set; downloads it once. No code from the hub runs."""
    place = f"dataset {config.id}"
    if find_spec("datasets") is None:
        raise PreflightError(
            "the package datasets is not installed",
            place=place,
            remedy="run `pip install 'grpokit-hf[hub]'`",
        )
    offline = says_offline(os.environ) or not hub_reachable(os.environ)
    remedy = (
        f"run `hf download --repo-type dataset {config.id}` where there is a network, or "
        "use a local file: `dataset: {use: jsonl, with: {path: FILE}}`"
    )
    local = Path(config.id).is_dir()
    if offline and not local and not is_cached(config.id, os.environ):  # it would retry for 20 s
        why = "HF_HUB_OFFLINE is set" if says_offline(os.environ) else "the hub cannot be reached"
        raise PreflightError(f"is not on this machine, and {why}", place=place, remedy=remedy)
    if offline:
        os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    try:
        table = load_dataset(config.id, config.name, split=config.split, revision=config.revision)
    except Exception as error:  # the datasets library raises errors of several network libraries
        lines = str(error).strip().splitlines()
        raise PreflightError(
            f"cannot be opened: {lines[0] if lines else type(error).__name__}",
            place=place,
            remedy=remedy,
        ) from error
    return HubDataset(table, config)


def says_offline(environ: Mapping[str, str]) -> bool:
    """Whether the user forbids the network."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in names)


def is_cached(dataset: str, environ: Mapping[str, str]) -> bool:
    """Whether some version of the data set is in the hub's cache or in the library's."""
    hub = hub_cache(environ)
    prepared = environ.get("HF_DATASETS_CACHE")
    library = Path(prepared).expanduser() if prepared else hub.parent / "datasets"
    return (hub / f"datasets--{dataset.replace('/', '--')}").is_dir() or (
        library / dataset.replace("/", "___")
    ).is_dir()
