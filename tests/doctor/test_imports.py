"""Packages that are installed and broken: seen by importing them, elsewhere."""

import json
import sys
import time

import pytest

from dists import grpokit, install
from grpokit.doctor.imports import import_problems

BROKEN = {
    "raises": "raise RuntimeError('built for\\n CUDA 99')",
    "leaves": "raise SystemExit(0)",
    "dies": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "ends": "import os; os._exit(7)",
    "writes": "open('litter', 'w').close(); print('a banner')",
}
HOOKS = """
from grpokit.api import BackendSpec, hookimpl

@hookimpl
def grpokit_backends():
    return [BackendSpec(name="abacus", summary="A backend.", target="beads.wood:Abacus")]
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    for name, text in BROKEN.items():
        (tmp_path / f"doctor_{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("doctor_absent", "doctor_absent: ModuleNotFoundError: No module named 'doctor_absent'"),
        ("doctor_raises", "doctor_raises: RuntimeError: built for CUDA 99"),
        ("doctor_leaves", "doctor_leaves: SystemExit: 0"),
        ("doctor_dies", "json, doctor_dies: the process died of SIGSEGV"),
        ("doctor_ends", "json, doctor_ends: the process ended with 7"),
    ],
)
def test_what_fails_is_named(modules, name, said):
    (problem,) = import_problems(["json", name])
    assert problem.fact == f"cannot be imported: {said}"
    assert (problem.level, problem.code) == ("error", "V704")


def test_what_works_says_nothing_and_leaves_nothing(modules, monkeypatch):
    monkeypatch.chdir(modules)
    assert import_problems(["json", "doctor_writes"]) == ()
    assert not (modules / "litter").exists()
    assert "doctor_writes" not in sys.modules


def test_an_import_that_hangs_is_not_waited_for(modules):
    (modules / "doctor_hangs.py").write_text("import time; time.sleep(60)")
    start = time.monotonic()
    (problem,) = import_problems(["doctor_hangs"], seconds=1.0)
    assert problem.fact.endswith("doctor_hangs: not imported after 1 s")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("broken", [True, False])
def test_a_backend_that_cannot_be_imported_does_not_run(tmp_path, broken):
    wood = "raise OSError('libbeads.so: cannot open')" if broken else "Abacus = dict"
    install(tmp_path, "beads", HOOKS, files={"wood.py": wood})
    environ = {"HF_HUB_OFFLINE": "1", "GRPOKIT_PLUGINS": "beads"}  # the others take seconds

    def state(*arguments):
        done = grpokit("doctor", "--json", *arguments, path=tmp_path, env=environ)
        return next(
            each for each in json.loads(done.stdout)["backends"] if each["name"] == "beads/abacus"
        )

    assert state()["runs"]
    tried = state("--import")
    assert tried["runs"] is not broken
    assert ["libbeads.so" in each["fact"] for each in tried["problems"]] == [True] * broken
