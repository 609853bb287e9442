"""The shell: exit codes, messages, tracebacks only on demand."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dists import grpokit, install
from grpokit import __version__
from grpokit.cli.commands import COMMANDS

HOOKS = """
from grpokit.api import CommandSpec, hookimpl

@hookimpl
def grpokit_commands():
    return [CommandSpec(name="raiser", summary="Raises.", target="grpokit_raiser.cli:app")]
"""
CLI = r"""
import os, sys, time
import typer
from grpokit import errors
from grpokit.cli import render
app = typer.Typer()

@app.command()
def raiser(what: str):
    if what == "recipe":
        raise errors.RecipeError("2 problems", place="r.yaml", problems=("r.yaml:1:1: A", "r.yaml:2:1: B"))
    if what == "bug":
        raise ZeroDivisionError("hostile \x1b[2J\ntext")
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "sigterm":
        raise errors.Interrupted(15, remedy="grpokit train --resume runs/x")
    if what == "exit":
        raise typer.Exit(7)
    if what == "abort":
        raise typer.Abort
    if what == "text":
        sys.exit("some text")
    if what == "many":
        for number in range(100_000):
            render.say(number)
    if what == "unicode":
        render.say("\u2713 \u6570")
    if what == "sleep":
        print("ready", flush=True)
        time.sleep(60)
    if hasattr(errors, what):
        raise getattr(errors, what)("the fact", place="the place", remedy="the remedy")
"""


@pytest.fixture(scope="module")
def raiser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    install(folder, "grpokit-raiser", HOOKS, files={"cli.py": CLI})
    return folder


def test_help_lists_every_command():
    done = grpokit("--help")
    assert done.returncode == 0
    for name, (_, sentence) in COMMANDS.items():
        assert name in done.stdout
        assert sentence.split(".")[0].split(",")[0] in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_no_completion_of_its_own(name):
    if importlib.util.find_spec(f"grpokit.cli.{name}") is None:
        pytest.skip(f"the command {name} is not there yet")
    done = grpokit(name, "--help", env={"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    assert f"grpokit {name}" in done.stdout
    assert "--install-completion" not in done.stdout


def test_version_of_the_script_and_of_the_module():
    assert grpokit("--version").stdout == f"grpokit {__version__}\n"
    script = Path(sys.executable).with_name("grpokit")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"grpokit {__version__}\n"


def test_nothing_at_all_shows_help():
    done = grpokit()
    assert done.returncode == 2
    assert "Commands" in done.stdout


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("trian",), "There is no command 'trian'. Did you mean 'train'?"),
        (("xyzzy",), "There is no command 'xyzzy'."),
        (("train", "--stepz", "3"), "No such option: --stepz"),
        (("plugins", "lst"), "No such command 'lst'. Did you mean 'list'?"),
        (("plugins", "show"), "Missing argument"),
        (("plugins", "list", "--kind", "rewrd"), "did you mean 'reward'?"),
        (("--nope",), "No such option: --nope"),
    ],
)
def test_wrong_usage_is_two_lines_and_code_2(args, told):
    done = grpokit(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    usage, error = done.stderr.splitlines()
    assert usage.startswith("Usage: grpokit")
    assert told in error
    assert "--help`" in error


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("GrpokitError", 1),
        ("RecipeError", 2),
        ("ComponentError", 3),
        ("PreflightError", 3),
        ("RewardError", 4),
        ("NonFiniteError", 5),
        ("CheckpointError", 6),
        ("OutOfMemoryError", 7),
    ],
)
def test_errors_on_purpose_are_one_line_and_their_code(raiser, what, code):
    done = grpokit("raiser", what, path=raiser)
    assert done.returncode == code
    assert (done.stdout, done.stderr) == ("", "error: the place: the fact; the remedy\n")


def test_a_recipe_error_prints_every_problem(raiser):
    done = grpokit("raiser", "recipe", path=raiser)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "r.yaml:1:1: A",
        "r.yaml:2:1: B",
        "error: r.yaml: 2 problems",
    ]


@pytest.mark.parametrize(
    ("what", "code", "told"),
    [
        ("sigterm", 143, "error: stopped by SIGTERM; grpokit train --resume runs/x\n"),
        ("interrupt", 130, ""),
        ("abort", 130, ""),
        ("exit", 7, ""),
        ("text", 1, "some text\n"),
        ("nothing", 0, ""),
    ],
)
def test_other_ends(raiser, what, code, told):
    done = grpokit("raiser", what, path=raiser)
    assert (done.returncode, done.stderr) == (code, told)


def test_a_bug_leaves_a_crash_file_and_no_traceback(raiser, tmp_path):
    done = grpokit("raiser", "bug", path=raiser, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert r"unexpected error: ZeroDivisionError: hostile \x1b[2J\ntext" in done.stderr
    (crash,) = tmp_path.glob("grpokit-crash-*.txt")
    assert str(crash) in done.stderr
    text = crash.read_text("utf-8")
    assert "command: grpokit raiser bug" in text
    assert "Traceback" in text
    assert "grpokit_raiser/cli.py" in text


def test_without_a_temporary_folder_the_traceback_is_still_somewhere(raiser):
    code = (
        "import sys, tempfile\ntempfile.tempdir = '/no/such/folder'\n"
        "from grpokit.cli.main import main\nsys.exit(main(['raiser', 'bug']))"
    )
    done = grpokit(path=raiser, code=code)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "could not be written" in done.stderr


@pytest.mark.parametrize("what", ["bug", "ComponentError"])
@pytest.mark.parametrize("way", ["option", "environment"])
def test_debug_shows_the_traceback(raiser, what, way):
    args = ["--debug"] if way == "option" else []
    env = {"GRPOKIT_DEBUG": "1"} if way == "environment" else {"GRPOKIT_DEBUG": "0"}
    done = grpokit(*args, "raiser", what, path=raiser, env=env)
    assert done.returncode == (1 if what == "bug" else 3)
    assert "Traceback" in done.stderr
    assert "grpokit_raiser/cli.py" in done.stderr


def test_what_the_system_refuses_is_no_bug():
    done = grpokit("train", "--resume", "x" * 300)
    assert done.returncode == 6
    assert "File name too long" in done.stderr
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_after_a_core_command():
    plain = grpokit("plugins", "show", "nothing-there")
    debug = grpokit("plugins", "show", "nothing-there", "--debug")
    assert (plain.returncode, debug.returncode) == (3, 3)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr


def test_a_closed_pipe_is_quiet(raiser):
    command = [sys.executable, "-m", "grpokit", "raiser", "many"]
    environ = os.environ | {"PYTHONPATH": str(raiser)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 141
    process.stderr.close()


def test_a_pipe_closed_before_the_help_is_quiet(raiser):
    process = subprocess.Popen(
        [sys.executable, "-m", "grpokit", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 141
    process.stderr.close()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_change_nothing(tmp_path, closed):
    """Some schedulers start programs without them; then 1 must not be the number of a file."""
    said = tmp_path / "said"
    word = {">&-": "2", "2>&-": "1", "<&-": "1"}.get(closed)
    command = f'"{sys.executable}" -m grpokit plugins list --kind reward {closed}'
    if word:
        command += f' {word}> "{said}"'
    done = subprocess.run(["sh", "-c", command], timeout=60)
    assert done.returncode == 0, said.read_text()
    if word == "1":
        assert "contains" in said.read_text()
    elif word:
        assert said.read_text() == ""


def test_output_survives_an_ascii_terminal(raiser):
    done = grpokit("raiser", "unicode", path=raiser, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "\\u2713 \\u6570\n")


def test_ctrl_c_is_quiet(raiser):
    command = [sys.executable, "-m", "grpokit", "raiser", "sleep"]
    environ = os.environ | {"PYTHONPATH": str(raiser)}
    # Tests that were started in the background ignore Ctrl-C, and what they start inherits that.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
        )
    finally:
        signal.signal(signal.SIGINT, usual)
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 130
