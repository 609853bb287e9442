"""Brings Unsloth into the process. It changes transformers, TRL and PEFT, so it is imported before
them: this module imports none of the three, and ``backend`` (which does) only after Unsloth.

Unsloth prints on stdout, counts its users by downloads from the hub and writes generated code into
the working directory. None of that happens here.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from grpokit.api import PreflightError
from grpokit_unsloth.config import UnslothConfig

if TYPE_CHECKING:
    from grpokit_unsloth.backend import UnslothBackend

__all__ = ["first_line", "make_backend", "quiet", "start", "steady_random"]

log = logging.getLogger("grpokit.unsloth")

CHANGED = ("transformers", "trl", "peft")
"""What Unsloth changes when it is imported on a machine with a GPU."""
AT_IMPORT = ("UNSLOTH_VLLM_STANDBY", "UNSLOTH_FORCE_CPU")
"""What it reads once; the other variables are read when they are needed."""


def make_backend(config: UnslothConfig | None = None) -> UnslothBackend:
    """The backend, with Unsloth imported first."""
    settings = config or UnslothConfig()
    start(settings)
    from grpokit_unsloth.backend import UnslothBackend

    return UnslothBackend(settings)


def start(config: UnslothConfig) -> ModuleType:
    """Imports Unsloth for these settings; some of them must stand in the environment before.

    Raises:
        PreflightError: Unsloth is missing or does not start, or it was imported with other settings.
    """
    wanted = environment(config)
    if "unsloth" in sys.modules:
        check_environment(wanted)
        return sys.modules["unsloth"]
    early = [name for name in CHANGED if name in sys.modules]
    os.environ.update(wanted)
    for name, value in defaults().items():
        os.environ.setdefault(name, value)
    # The border to foreign code: an import may raise anything.
    try:
        with quiet("import"):
            module = importlib.import_module("unsloth")
    except Exception as error:
        raise PreflightError(
            f"Unsloth cannot be imported: {first_line(error)}",
            place="backend.use",
            remedy="run `grpokit plan` on the recipe; it names what is missing",
        ) from error
    if early and getattr(module, "DEVICE_TYPE", "cpu") != "cpu":
        log.warning(
            "%s was imported before Unsloth, so some of its kernels may not be in use: slower, and "
            "more memory",
            ", ".join(early),
        )
    return module


def environment(config: UnslothConfig) -> dict[str, str]:
    """Variables that Unsloth reads while it is imported, or later."""
    # Else Unsloth folds the adapter into the shared weights for each ``generate``: rounded to 16
    # bits, so that vLLM would sample from another policy than the one that trains.
    wanted = {"UNSLOTH_DISABLE_STATISTICS": "1", "UNSLOTH_VLLM_MERGED_ROLLOUT": "0"}
    # Also where it is not wanted: left over from elsewhere, it would change vLLM's share of the memory.
    wanted["UNSLOTH_VLLM_STANDBY"] = "1" if config.standby else "0"
    if config.device == "cpu":
        wanted["UNSLOTH_FORCE_CPU"] = "1"
    return wanted


def defaults() -> dict[str, str]:
    """Variables that stay as the user set them."""
    return {
        "UNSLOTH_COMPILE_LOCATION": str(compile_folder()),
        # vLLM keeps the stream that it finds as it is imported, and stdout is taken then.
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_NO_USAGE_STATS": "1",
    }


def check_environment(wanted: dict[str, str]) -> None:
    """Unsloth is in the process already: it must have been started with the same settings."""
    for name, value in wanted.items():
        if name in AT_IMPORT and os.environ.get(name, "0") != value:
            raise PreflightError(
                f"Unsloth was imported before this run, without {name}={value}",
                place="backend.with",
                remedy="start the run in a process of its own (`grpokit train`)",
            )
    os.environ.update(wanted)


def compile_folder() -> Path:
    """Where Unsloth's generated modules go, instead of the working directory."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "grpokit" / "unsloth_compiled_cache"


class Said(io.StringIO):
    """What stands in the place of stdout. vLLM asks stdout for its number, to redirect what
    libraries in C print.
    """

    def fileno(self) -> int:
        return 1


@contextmanager
def quiet(what: str) -> Iterator[None]:
    """Takes in what Unsloth prints, warns and logs; its lines go to our log as details.

    It also sets up logging for the whole process, so that other people's lines appear twice; that
    is undone.
    """
    said = Said()
    before, handlers, level = (
        logging.root.manager.disable,
        logging.root.handlers[:],
        logging.root.level,
    )
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings(), redirect_stdout(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        for line in said.getvalue().splitlines():
            if line.strip():
                log.debug("unsloth (%s): %s", what, line.strip())


@contextmanager
def steady_random() -> Iterator[None]:
    """Unsloth seeds Python's, numpy's and torch's generators; they go on as if it had not."""
    import numpy as np
    import torch

    plain, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002 - what Unsloth seeds
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(arrays)  # noqa: NPY002


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
