"""Constraints files: what is in the repository is what the table says, and pip can read it."""

import shlex
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from grpokit.versions.constraints import MARK, commands, constraints_text, requirements_text, write
from grpokit.versions.table import MACHINES, canonical, load_table

ROOT = Path(__file__).parents[2]
TABLE = load_table()


def lines(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", TABLE.sets)
def test_the_file_beside_the_plugin_is_the_tables(name):
    chosen = TABLE.sets[name]
    written = (ROOT / chosen.constraints).read_text("utf-8")
    assert written == constraints_text(chosen), "python docs/generate.py writes it"
    for kind, machine in chosen.machines.items():
        if machine.requirements:
            written = (ROOT / machine.requirements).read_text("utf-8")
            assert written == requirements_text(chosen, kind)


@pytest.mark.parametrize("name", TABLE.sets)
def test_each_line_pins_one_package_once(name):
    found = [Requirement(line) for line in lines(constraints_text(TABLE.sets[name]))]
    names = [canonical(each.name) for each in found]
    assert len(names) == len(set(names)) > 10
    for each in found:
        (specifier,) = each.specifier
        assert specifier.operator == "=="
        assert not each.extras  # pip refuses extras in constraints
        assert "+" not in specifier.version  # a build for another machine


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", TABLE.sets)
def test_commands_are_two_where_something_is_left_out(name, machine):
    chosen = TABLE.sets[name]
    made = [shlex.split(line) for line in commands(chosen, machine, "c.txt", "my dir/r.txt")]
    assert made[0][:4] == ["pip", "install", "-c", "c.txt"]
    last = chosen.machines[machine].no_deps
    assert ("my dir/r.txt" in made[0]) == bool(last)
    assert bool(requirements_text(chosen, machine)) == bool(last)
    if last:
        assert made[1][:3] == ["pip", "install", "--no-deps"]
        assert made[1][3:] == [f"{package}=={version}" for package, version in last.items()]
    assert len(made) == (2 if last else 1)


def test_the_projects_own_environment_is_that_of_hf_and_of_trl():
    """`make test` installs from hf's file; so the tests of both run with these versions."""
    files = [set(lines(constraints_text(TABLE.sets[name]))) for name in ("hf", "trl")]
    assert files[0] == files[1]
    made = (ROOT / "Makefile").read_text()
    assert made.count(f"-c {TABLE.sets['hf'].constraints} ") >= 2
    for name in ("vllm", "unsloth"):
        chosen = TABLE.sets[name]
        assert made.count(f"-c {chosen.constraints} ") == 2  # the last one without dependencies
        assert f"-r {chosen.machines['cpu'].requirements} " in made


def test_requirements_are_lines_that_pip_reads():
    for name in ("vllm", "unsloth"):
        text = requirements_text(TABLE.sets[name], "cpu")
        assert MARK in text
        assert len([Requirement(line) for line in lines(text)]) > 20


def test_a_file_is_written_again_but_nobody_elses(tmp_path):
    path = tmp_path / "c.txt"
    write(path, constraints_text(TABLE.sets["hf"]))
    write(path, constraints_text(TABLE.sets["trl"]))
    assert path.read_text() == constraints_text(TABLE.sets["trl"])
    mine = tmp_path / "mine.txt"
    mine.write_text("torch==1.0\n")
    with pytest.raises(FileExistsError):
        write(mine, "x")
    assert mine.read_text() == "torch==1.0\n"
