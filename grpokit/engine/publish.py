"""The trained policy of a complete run, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from grpokit.engine.checkpoint import write_manifest
from grpokit.errors import CheckpointError
from grpokit.spec.contracts import LoopBackend, StepBackend

__all__ = ["publish_policy"]


def publish_policy(backend: StepBackend | LoopBackend, folder: Path, *, step: int) -> Path:
    """Writes ``final/`` with a manifest; replaces an older one in one rename.

    Raises:
        CheckpointError: the disk is full; the last checkpoint stands.
    """
    temporary = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        backend.save_policy(temporary)
        (temporary / "run.json").write_text(json.dumps({"step": step}), encoding="utf-8")
        write_manifest(temporary, step)
        if folder.exists():
            old = folder.with_name(f".tmp-old-{folder.name}-{os.getpid()}")
            folder.rename(old)
            shutil.rmtree(old, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"the trained policy could not be written: {error.strerror or error}",
            place=str(folder),
            remedy="free disk space; the last checkpoint stands",
        ) from error
    return folder
