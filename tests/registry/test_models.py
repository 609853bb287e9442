"""The cache of catalogued models and `grpokit models`, with a real plugin that makes a small model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dists import install
from grpokit.registry.models import MANIFEST, models_folder

HOOKS = """
from grpokit.api import ModelSpec, hookimpl

@hookimpl
def grpokit_models():
    return [
        ModelSpec(name="mini", summary="Small.", target="grpokit_mini.bring:bring", source="here",
                  license="MIT", parameters=1234567, size=1000),
        ModelSpec(name="huge", summary="Large.", target="grpokit_mini.bring:bring", size=10**18),
        ModelSpec(name="failing", summary="Fails.", target="grpokit_mini.bring:fail"),
    ]
"""
BRING = """
import logging, os, time
from grpokit.api import PreflightError

def bring(cache):
    logging.getLogger("grpokit.models").info("making the mini model")
    with open(os.environ["MINI_LOG"], "a") as log:
        log.write("x")
    (cache / "parts").mkdir()
    (cache / "parts" / "large").write_bytes(b"y" * 1000)
    time.sleep(float(os.environ.get("MINI_SLEEP", "0")))
    folder = cache / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"w" * 500)
    return folder

def fail(cache):
    (cache / "half").write_text("half")
    raise PreflightError("no network", place="mini", remedy="plug it in")
"""


class World:
    """A cache, a log of how often the model was made, and `grpokit` in a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        install(self.site, "grpokit-mini", HOOKS, files={"bring.py": BRING})
        self.log = folder / "log"
        self.place = folder / "cache" / "models" / "mini--mini"

    def environ(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(self.site),
            "GRPOKIT_CACHE": str(self.folder / "cache"),
            "MINI_LOG": str(self.log),
            **more,
        }

    def start(self, *args: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "grpokit", "models", *args],
            env=self.environ(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str, **more: str) -> tuple[int, str, str]:
        process = self.start(*args, **more)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    @property
    def made(self) -> int:
        return len(self.log.read_text()) if self.log.exists() else 0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_pull_brings_once_and_leaves_nothing_else(world: World):
    code, out, err = world.run("pull", "mini")
    assert (code, world.made) == (0, 1)
    assert "making the mini model" in err
    assert str(world.place) in out
    assert {p.name for p in world.place.iterdir()} == {"config.json", "model.safetensors", MANIFEST}
    assert {p.name for p in world.place.parent.iterdir()} == {"mini--mini", ".mini--mini.lock"}
    code, _, err = world.run("pull", "mini/mini")
    assert (code, world.made, err) == (0, 1, "")


def test_two_processes_at_once_make_it_once(world: World):
    both = [world.start("pull", "mini", MINI_SLEEP="3") for _ in range(2)]
    told = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert world.made == 1
    assert sum("waiting for another process" in err for _, err in told) == 1


def test_a_process_that_dies_leaves_no_half_model(world: World):
    process = world.start("pull", "mini", MINI_SLEEP="30")
    deadline = time.monotonic() + 30
    while world.made == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert not world.place.exists()
    assert world.run("pull", "mini")[0] == 0
    assert (world.place / MANIFEST).is_file()


@pytest.mark.parametrize("damage", ["bytes", "size", "missing", "manifest"])
def test_a_damaged_model_is_found_and_brought_again(world: World, damage: str):
    world.run("pull", "mini")
    path = world.place / "model.safetensors"
    if damage == "bytes":
        path.write_bytes(b"v" + b"w" * 499)
    elif damage == "size":
        path.write_bytes(b"w")
    elif damage == "missing":
        path.unlink()
    else:
        (world.place / MANIFEST).write_text("{")
    code, out, err = world.run("show", "mini")
    assert "damaged" in out
    assert ("model.safetensors" in err) == (damage != "manifest")
    listed = json.loads(world.run("list", "--json")[1])["models"]
    (ready,) = (item["ready"] for item in listed if item["name"] == "mini")
    assert ready == (damage == "bytes")  # `list` looks at sizes only
    code, _, err = world.run("pull", "mini")
    assert (code, world.made) == (0, 2)
    assert "is damaged" in err
    assert path.read_bytes() == b"w" * 500
    assert "every hash is right" in world.run("show", "mini")[1]


def test_a_failure_is_a_sentence_and_leaves_nothing(world: World):
    code, _, err = world.run("pull", "failing")
    assert code == 3
    assert "mini: no network; plug it in" in err
    assert "Traceback" not in err
    assert [p.name for p in world.place.parent.iterdir()] == [".mini--failing.lock"]


def test_too_little_room_is_said_before_anything_is_brought(world: World):
    code, _, err = world.run("pull", "huge")
    assert (code, world.made) == (3, 0)
    assert "GRPOKIT_CACHE" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(world: World):
    (world.folder / "cache").mkdir(mode=0o500)
    assert world.run("pull", "mini")[0] == 3


def test_a_cache_that_is_a_file(world: World):
    (world.folder / "cache").write_text("")
    code, _, err = world.run("pull", "mini")
    assert code == 3
    assert "GRPOKIT_CACHE" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "words"),
    [("minni", "mini"), ("org/name", "hf download org/name"), (".", "local folder")],
)
def test_a_name_that_is_not_catalogued(world: World, name: str, words: str):
    code, _, err = world.run("pull", name)
    assert code == 3
    assert words in err


def test_list_and_show(world: World):
    _, out, _ = world.run("list")
    line = next(line for line in out.splitlines() if line.startswith("mini"))
    assert line.split()[:4] == ["mini", "1M", "MIT", "no"]
    _, out, _ = world.run("show", "mini")
    assert "1 234 567" in out
    assert "grpokit models pull mini" in out


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"GRPOKIT_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a/models")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/grpokit/models")),
        ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache/grpokit/models"),
        ({}, Path.home() / ".cache/grpokit/models"),
    ],
)
def test_where_models_are_kept(environ: dict[str, str], expected: Path):
    assert models_folder(environ) == expected
