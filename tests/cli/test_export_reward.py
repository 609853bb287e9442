"""`grpokit export reward`: the line that names a reward elsewhere, or a file that works there."""

from __future__ import annotations

import asyncio
import inspect
import shlex
import tomllib

import pytest
import yaml

from exported import CATALOG
from grpokit.cli.main import main
from grpokit.errors import ExitCode
from grpokit.interop.files import TARGETS
from grpokit.registry.catalog import Catalog

TEXTS = ["\\boxed{7}", "#### 7"]


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Catalog, "load", lambda: CATALOG)  # found once for all tests

    def run(*arguments):
        code = main(["export", "reward", *arguments])
        return code, capsys.readouterr()

    return run


def called(function, text):
    """A score from a written function, as its trainer calls it."""
    names = inspect.signature(function).parameters
    if "queries" in names:
        return function([f"q{text}"], ["q"], ["7"])["rewards"]
    if "solution_str" in names:
        return function(data_source="x", solution_str=text, ground_truth="7")["score"]
    if "trace" in names:
        task = type("T", (), {"model_dump": lambda _, **__: {"prompt": "q", "answer": "7"}})()
        return sum(asyncio.run(function(task, type("R", (), {"last_reply": text})())).values())
    return function(prompts=["q"], completions=[text], solution=["7"])[0]


@pytest.mark.parametrize("target", TARGETS)
def test_a_written_file_has_the_settings(said, tmp_path, target):
    code, told = said("number", "--to", target, "--with", "from=[boxed]")
    assert code == 0
    file = f"number_{target}.py"
    assert told.out.splitlines()[0] == f"written: {file}"
    assert file.removesuffix(".py") in told.out.splitlines()[1]
    found = {}
    exec((tmp_path / file).read_text(), found)
    function = found["reward_func" if target == "openrlhf" else "number"]
    assert [called(function, text) for text in TEXTS] == [1.0, 0.0]
    found["REWARDS"].close()
    again, told = said("number", "--to", target, "--with", "from=[boxed]")
    assert again == ExitCode.PREFLIGHT
    assert "File exists; choose a new file with --out" in told.err


def test_lines_are_of_the_language_where_they_go(said):
    def line(target):
        code, told = said("example-reward/distinct", "--to", target)
        assert code == 0
        return told.out

    name = "example_reward_distinct"
    found = {}
    exec(line("trl"), found)
    assert found[name].__name__ == "distinct"
    assert yaml.safe_load(line("axolotl")) == {
        "trl": {"reward_funcs": [f"grpokit.interop.axolotl.{name}"]}
    }
    task = tomllib.loads(line("verifiers"))["env"]["taskset"]["task"]
    assert task["rewards"][name] == {"fn": f"grpokit.interop.verifiers:{name}", "weight": 1.0}
    path, function = shlex.split(line("verl"))
    assert path == "reward.custom_reward_function.path=pkg://grpokit.interop.verl"
    assert function == f"reward.custom_reward_function.name={name}"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("trl", "--out", "sub/x.py"), "reward_funcs=[number], ...), with PYTHONPATH=sub"),
        (("axolotl", "--out", "a b/x.py"), "[x.number]}  # with PYTHONPATH='a b' before"),
        (
            ("verl", "--out", "a b/x.py"),
            "path='a b/x.py' reward.custom_reward_function.name=number",
        ),
        (("openrlhf", "--out", "a b/x-1.py"), "--reward.remote_url 'a b/x-1.py'"),
        (("verifiers", "--out", "a b/x-1.py"), 'fn = "a b/x-1.py:number"'),
    ],
)
def test_files_lie_where_they_like(said, tmp_path, arguments, line):
    (tmp_path / arguments[2]).parent.mkdir()
    code, told = said("number", "--to", *arguments)
    assert code == 0, told.err
    assert line in told.out


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("nmber", "--to", "trl"), ExitCode.PREFLIGHT, "did you mean 'number'"),
        (("number", "--to", "tlr"), ExitCode.USAGE, "use one of trl, axolotl, verl, verifiers"),
        (("number", "--to", "trl", "--out", "my-x.py"), ExitCode.USAGE, "call it my_x.py"),
        (("number", "--to", "axolotl", "--out", "if.py"), ExitCode.USAGE, "call it if_.py"),
        (("number", "--to", "verl", "--out", "x.txt"), ExitCode.USAGE, "does not end in .py"),
        (("number", "--to", "verl", "--out", "no/x.py"), ExitCode.PREFLIGHT, "No such file"),
        (
            ("format", "--to", "trl"),
            ExitCode.USAGE,
            "--with: K411 `with`: give exactly one of tags",
        ),
        (
            ("number", "--to", "trl", "--with", "frm=1"),
            ExitCode.USAGE,
            "--with frm: K401 `with` has",
        ),
        (("trl:x.py:fn", "--to", "verl"), ExitCode.USAGE, "name it there by its own path"),
    ],
)
def test_mistakes(said, tmp_path, arguments, code, line):
    found, told = said(*arguments)
    assert found == code
    assert line in "\n" + told.err
    assert list(tmp_path.iterdir()) == []
