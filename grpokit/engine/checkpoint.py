"""Atomic checkpoints with a manifest of hashes.

    checkpoints/step-000050/
        policy/...       what evaluation needs (an adapter, or a whole model)
        state/...        what exact resume needs besides (optimiser moments, counters)
        run.json         step, file sizes of the records, best score
        MANIFEST.json    sha256 and size of every file above, written last

A checkpoint is built in ``.tmp-step-000050-<pid>``, flushed to the disk and renamed. So a folder
with the final name is whole, and a kill leaves at most a temporary folder that the next start
removes. ``newest`` takes the newest one whose hashes agree and says which it skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpokit.errors import CheckpointError
from grpokit.spec.pids import alive

__all__ = [
    "Checkpoint",
    "CheckpointStore",
    "check_writable",
    "verify",
    "write_atomic",
    "write_manifest",
]

FORMAT = 1
_NAME = re.compile(r"step-(\d{6,})")
_TEMPORARY = re.compile(r"\.tmp-step-\d+-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A verified checkpoint."""

    step: int
    folder: Path
    run: Mapping[str, Any]


def write_atomic(path: Path, text: str) -> None:
    """Writes a small text file so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def check_writable(folder: Path) -> None:
    """Makes a folder if need be, and another one in it for a moment.

    Processes that put weights together must not find out afterwards, when the others wait.

    Raises:
        CheckpointError: it cannot be made, or not be written.
    """
    trial = folder / f".tmp-step-0-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.mkdir(exist_ok=True)
        trial.rmdir()
    except OSError as error:
        raise CheckpointError(
            f"checkpoints cannot be written: {error.strerror or error}",
            place=str(folder),
            remedy="free disk space and resume; the last good checkpoint stands",
        ) from error


def verify(folder: Path) -> str:
    """What is wrong with a checkpoint folder, in words; empty if every hash agrees."""
    if folder.is_symlink():
        return "the folder is a symbolic link"
    try:
        files = _read_manifest(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"MANIFEST.json cannot be read ({error})"
    root = folder.resolve()
    try:
        problems = (_file_problem(root, name, entry) for name, entry in sorted(files.items()))
        return next((problem for problem in problems if problem), "")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"a file cannot be compared with MANIFEST.json ({error})"


def _read_manifest(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, this grpokit reads {FORMAT}")
    return dict(content["files"])


def _file_problem(root: Path, name: str, entry: Mapping[str, Any]) -> str:
    path = root / name
    if path.is_symlink() or not path.resolve().is_relative_to(root):
        return f"{name} points outside of the checkpoint"
    if not path.is_file():
        return f"{name} is missing"
    if path.stat().st_size != entry["bytes"]:
        return f"{name} has {path.stat().st_size} bytes instead of {entry['bytes']}"
    if _sha256(path) != entry["sha256"]:
        return f"{name} has changed since it was written (hash differs)"
    return ""


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def prepare(self) -> None:
        """Makes the folder of checkpoints, before anybody gathers what to write.

        Raises:
            CheckpointError: it cannot be made, or not be written.
        """
        check_writable(self.folder)

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of a step that is known to be whole."""
        folder = self.folder / f"step-{step:06d}"
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return Checkpoint(step=step, folder=folder, run=run)

    def save(self, step: int, write: Callable[[Path], None], run: Mapping[str, Any]) -> Path:
        """Builds, flushes and renames checkpoint ``step``; ``write(folder)`` fills it.

        Raises:
            CheckpointError: the disk is full or cannot be written; older checkpoints stand.
        """
        self.prepare()
        final = self.folder / f"step-{step:06d}"
        temporary = self.folder / f".tmp-step-{step:06d}-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            write(temporary)
            (temporary / "run.json").write_text(json.dumps(dict(run), indent=1), encoding="utf-8")
            write_manifest(temporary, step)
            if final.exists():  # only a damaged one can stand here: the newest good one is resumed
                shutil.rmtree(final)
            temporary.rename(final)
            _sync_folder(self.folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(
                f"checkpoint {step} could not be written: {error.strerror or error}",
                place=str(final),
                remedy="free disk space and resume; the last good checkpoint stands",
            ) from error
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return final

    def prune(self, best: int | None) -> None:
        """Removes all but the newest ``keep`` and the best. Called after a new one is safe."""
        steps = self.steps()
        for step in steps[: -self.keep]:
            if step != best:
                doomed = self.folder / f".tmp-step-{step:06d}-{os.getpid()}"
                (self.folder / f"step-{step:06d}").rename(doomed)  # a kill leaves no half folder
                shutil.rmtree(doomed, ignore_errors=True)

    def steps(self) -> list[int]:
        """Steps that have a checkpoint folder, good or bad, oldest first."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def newest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that verifies; None if the run never saved one.

        Damaged ones are named through ``say`` and moved aside to ``step-N.corrupt``.

        Raises:
            CheckpointError: there are checkpoints, and none of them is whole, or a newer grpokit
                wrote one.
        """
        self.clean()
        problems = []
        for step in reversed(self.steps()):
            folder = self.folder / f"step-{step:06d}"
            problem = verify(folder)
            if not problem:
                return self.at(step)
            _refuse_newer(folder)
            problems.append(f"step {step}: {problem}")
            _quarantine(folder)
            say(f"skipped the checkpoint of step {step}: {problem}")
        corrupt = sorted(path.name for path in self.folder.glob("step-*.corrupt"))
        if problems or corrupt:
            raise CheckpointError(
                "no checkpoint is whole (" + "; ".join(problems or corrupt) + ")",
                place=str(self.folder),
                remedy="start a new run; the damaged folders are kept as *.corrupt",
            )
        return None

    def clean(self) -> None:
        """Removes temporary folders whose process is gone."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            match = _TEMPORARY.fullmatch(path.name)
            if match and (int(match[1]) == os.getpid() or not alive(int(match[1]))):
                shutil.rmtree(path, ignore_errors=True)


def write_manifest(folder: Path, step: int) -> None:
    """Flushes every file of a folder to the disk, then writes and flushes its hashes."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _sync_file(path)
            name = path.relative_to(folder).as_posix()
            files[name] = {"sha256": _sha256(path), "bytes": path.stat().st_size}
        elif path.is_dir():
            _sync_folder(path)
    manifest = folder / "MANIFEST.json"
    content = {"format": FORMAT, "step": step, "files": files}
    manifest.write_text(json.dumps(content, indent=1), encoding="utf-8")
    _sync_file(manifest)
    _sync_folder(folder)


def _refuse_newer(folder: Path) -> None:
    """What a newer grpokit wrote is not damaged, and stays where it is."""
    try:
        found = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))["format"]
        newer = isinstance(found, int) and found > FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        return
    if newer:
        raise CheckpointError(
            f"the checkpoint has format {found}, this grpokit reads {FORMAT}",
            place=str(folder),
            remedy="resume with the grpokit that wrote it",
        )


def _quarantine(folder: Path) -> None:
    target = folder.with_name(folder.name + ".corrupt")
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
