"""Checkpoints are whole or absent; damage is found, named and stepped over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grpokit.engine.checkpoint import CheckpointStore, verify
from grpokit.errors import CheckpointError


def fill(folder: Path) -> None:
    (folder / "policy").mkdir()
    (folder / "state").mkdir()
    (folder / "policy" / "weights.bin").write_bytes(b"w" * 1000)
    (folder / "state" / "moments.bin").write_bytes(b"m" * 1000)


def store_with(tmp_path: Path, *steps: int, keep: int = 5) -> CheckpointStore:
    store = CheckpointStore(tmp_path, keep=keep)
    for step in steps:
        store.save(step, fill, {"step": step})
    return store


def test_a_saved_checkpoint_verifies_and_is_found(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1, 2)
    newest = store.newest(pytest.fail)
    assert newest is not None
    assert (newest.step, newest.run) == (2, {"step": 2})
    assert verify(newest.folder) == ""


def test_no_checkpoint_is_none_and_not_an_error(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "absent", keep=1).newest(pytest.fail) is None


FILES = ["policy/weights.bin", "state/moments.bin", "run.json", "MANIFEST.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["delete", "empty", "truncate", "flip"])
def test_damage_of_any_file_is_named_and_the_older_one_is_taken(
    tmp_path: Path, name: str, damage: str
) -> None:
    store = store_with(tmp_path, 1, 2)
    path = tmp_path / "step-000002" / name
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    said: list[str] = []
    newest = store.newest(said.append)
    assert newest is not None
    assert newest.step == 1
    assert len(said) == 1
    assert "step 2" in said[0]
    assert Path(name).name in said[0]
    assert (tmp_path / "step-000002.corrupt").is_dir()


def test_all_damaged_is_an_error_now_and_at_the_next_start(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1, 2)
    for step in (1, 2):
        (tmp_path / f"step-00000{step}" / "run.json").unlink()
    for _ in range(2):
        with pytest.raises(CheckpointError, match="no checkpoint is whole"):
            store.newest(lambda text: None)


def test_a_newer_format_is_refused_with_a_sentence(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1)
    manifest = tmp_path / "step-000001" / "MANIFEST.json"
    content = json.loads(manifest.read_text())
    content["format"] = 99
    manifest.write_text(json.dumps(content))
    assert "format 99" in verify(tmp_path / "step-000001")
    for _ in range(2):  # it is not moved aside as if it were damaged
        with pytest.raises(CheckpointError, match="grpokit that wrote it"):
            store.newest(print)


def test_a_manifest_cannot_name_files_outside(tmp_path: Path) -> None:
    store_with(tmp_path, 1)
    (tmp_path / "secret").write_text("x")
    manifest = tmp_path / "step-000001" / "MANIFEST.json"
    content = json.loads(manifest.read_text())
    content["files"]["../secret"] = {"sha256": "0", "bytes": 1}
    manifest.write_text(json.dumps(content))
    assert "outside" in verify(tmp_path / "step-000001")


@pytest.mark.parametrize("entry", [3, {}, {"bytes": 1}, None])
def test_a_manifest_with_odd_entries_is_damage(tmp_path: Path, entry: object) -> None:
    store = store_with(tmp_path, 1)
    manifest = store.folder / "step-000001" / "MANIFEST.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "files": {"run.json": entry}}))
    assert verify(store.folder / "step-000001")


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1, 2, 3, 4, keep=2)
    store.prune(best=1)
    assert store.steps() == [1, 3, 4]
    assert not list(tmp_path.glob(".tmp*"))


def test_a_failing_write_leaves_nothing_behind_and_the_old_one_stands(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1)

    def full(folder: Path) -> None:
        fill(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="No space left"):
        store.save(2, full, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000001"]


def test_a_real_full_disk_ends_in_a_checkpoint_error(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes a real write fail in a real process."""
    code = f"""
import resource, signal
from pathlib import Path
from grpokit.engine.checkpoint import CheckpointStore
from grpokit.errors import CheckpointError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
def write(folder):
    (folder / "policy").mkdir()
    (folder / "policy" / "big").write_bytes(b"x" * 100000)
try:
    CheckpointStore(Path({str(tmp_path)!r}), keep=1).save(1, write, {{}})
except CheckpointError as error:
    print("error:", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_temporary_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    (tmp_path / f".tmp-step-000007-{child.pid}").mkdir()
    alive = tmp_path / f".tmp-step-000008-{os.getppid()}"
    alive.mkdir()
    CheckpointStore(tmp_path, keep=1).newest(pytest.fail)
    assert [path.name for path in tmp_path.iterdir()] == [alive.name]
