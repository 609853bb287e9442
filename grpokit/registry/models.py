"""The cache of catalogued models: found by name, brought once, whole or not at all.

A model plugin writes into a fresh folder and knows nothing of the cache. This module gives it the
folder, holds a lock meanwhile, records the hash of every file, and renames the result into place.
Two processes that want the same model do the work once; a process that dies leaves no half model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.errors import PreflightError
from grpokit.spec.components import ModelSpec

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry

__all__ = ["MANIFEST", "bring", "find", "models_folder", "place_of", "ready", "verify"]

MANIFEST = "grpokit-model.json"
LOG = logging.getLogger("grpokit.models")
"""Model plugins write their progress here; whoever shows progress listens."""

Say = Callable[[str], None]


def models_folder(environ: Mapping[str, str] | None = None) -> Path:
    """``$GRPOKIT_CACHE/models``, else ``$XDG_CACHE_HOME/grpokit/models``, else ``~/.cache/grpokit/models``."""
    environ = os.environ if environ is None else environ
    own = environ.get("GRPOKIT_CACHE", "")
    if own:
        return Path(own).expanduser().absolute() / "models"
    shared = environ.get("XDG_CACHE_HOME", "")
    base = Path(shared) if shared.startswith("/") else Path.home() / ".cache"
    return base / "grpokit" / "models"


def find(name: str, catalog: Catalog | None = None) -> Entry | None:
    """The catalogued model of this name or id; None if there is none (it may be a folder or a hub id)."""
    if catalog is None:
        from grpokit.registry.catalog import Catalog

        catalog = Catalog.load()
    named = (name in (entry.id, entry.spec.name) for entry in catalog.entries("model"))
    return catalog.find("model", name) if any(named) else None


def place_of(entry: Entry, environ: Mapping[str, str] | None = None) -> Path:
    """Where the model's folder is or will be."""
    return models_folder(environ) / entry.id.replace("/", "--")


def ready(entry: Entry, environ: Mapping[str, str] | None = None) -> Path | None:
    """The folder if the model is there, judged by names and sizes (fast); None otherwise."""
    folder = place_of(entry, environ)
    return None if damage(folder, hashes=False) else folder


def verify(folder: Path) -> tuple[str, ...]:
    """What is wrong with a cached model, file by file; empty if every hash is right."""
    return damage(folder, hashes=True)


def damage(folder: Path, *, hashes: bool) -> tuple[str, ...]:
    files = read_manifest(folder)
    if files is None:
        return (f"{MANIFEST} is missing or unreadable",)
    found = []
    for name, told in files.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != told["size"]:
            found.append(f"{name} has {path.stat().st_size} bytes instead of {told['size']}")
        elif hashes and digest(path) != told["sha256"]:
            found.append(f"{name} has a wrong SHA-256")
    return tuple(found)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if isinstance(files, dict) and files else None


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bring(
    entry: Entry, *, say: Say | None = None, environ: Mapping[str, str] | None = None
) -> Path:
    """The folder of a catalogued model, brought if it is not there or is damaged.

    Checks every hash, about a third of a second for 270 MB. ``say`` gets progress messages.
    """
    folder = place_of(entry, environ)
    with listening(say):
        if not folder.exists() or damage(folder, hashes=True):
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                with locked(folder.parent / f".{folder.name}.lock"):
                    bring_locked(entry, folder)
            except OSError as error:
                raise PreflightError(
                    f"the model cannot be written: {error.strerror or error}",
                    place=str(folder),
                    remedy="set GRPOKIT_CACHE to a folder with room that you may write to",
                ) from error
    return folder


def bring_locked(entry: Entry, folder: Path) -> None:
    """Brings the model into a temporary folder beside its place and renames it."""
    if folder.exists():
        wrong = damage(folder, hashes=True)
        if not wrong:  # another process did it while this one waited
            return
        LOG.warning("the cached %s is damaged (%s); bringing it again", entry.id, "; ".join(wrong))
    if not isinstance(entry.spec, ModelSpec):
        raise TypeError(f"{entry.id} is a {entry.kind}, not a model")
    check_room(entry.spec, folder.parent)
    from grpokit.registry.resolve import resolve

    target = resolve(entry.spec.target, entry)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True
    ) as work:
        made = Path(target(Path(work)))
        write_manifest(made, entry)
        if folder.exists():
            folder.replace(Path(work) / "damaged")  # goes with the temporary folder
        made.rename(folder)
    LOG.info("%s is ready in %s", entry.id, folder)


def check_room(spec: ModelSpec, where: Path) -> None:
    needed, free = int(spec.size * 1.8), shutil.disk_usage(where).free
    if free < needed:
        raise PreflightError(
            f"{spec.name} needs {needed / 1e9:.1f} GB while it is brought, {free / 1e9:.1f} GB are free",
            place=str(where),
            remedy="make room, or set GRPOKIT_CACHE to a folder on a larger disk",
        )


def write_manifest(folder: Path, entry: Entry) -> None:
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    source = getattr(entry.spec, "source", "")
    record = {"format": 1, "model": entry.id, "source": source, "files": files}
    text = json.dumps(record, indent=2) + "\n"
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the other process. Where there are no file locks, the rename alone decides."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("waiting for another process that brings the same model")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            yield
            return
        yield


class Listener(logging.Handler):
    """Hands log messages to a function."""

    def __init__(self, say: Say) -> None:
        super().__init__(logging.INFO)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say(record.getMessage())


@contextlib.contextmanager
def listening(say: Say | None) -> Iterator[None]:
    """While open, progress messages of model plugins go to ``say``."""
    if say is None:
        yield
        return
    handler, level = Listener(say), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
