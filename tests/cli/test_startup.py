"""Light commands stay light: no torch, in this process or a child, and a bounded start."""

import importlib.util
import subprocess
import sys

import pytest

import startup
from dists import grpokit

HEAVY = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy", "vllm")
LIGHT = [
    *startup.COMMANDS[:-1],
    ("plan", "quickstart"),
    ("plan", "gsm8k-qwen"),
    ("plugins", "show", "grpo"),
    ("plugins", "list", "--json"),
    ("recipes", "show", "quickstart"),
    ("recipes", "schema"),
    ("models", "list"),
    ("doctor",),
    ("doctor", "quickstart"),
    ("rewards", "list"),
    ("rewards", "check", "number", "--rows", "1"),
    ("train", "--help"),
    ("eval", "--help"),
]


def there(command):
    """Whether the command's module exists."""
    name = command[0]
    return name.startswith("-") or importlib.util.find_spec(f"grpokit.cli.{name}") is not None


@pytest.fixture
def poison(tmp_path):
    """Heavy packages whose import leaves a mark and fails, for children too."""
    for name in HEAVY:
        (tmp_path / name).mkdir()
        mark = tmp_path / f"{name}.imported"
        (tmp_path / name / "__init__.py").write_text(
            f"open({str(mark)!r}, 'w').close()\nraise ImportError('{name} was imported')\n"
        )
    return tmp_path


def test_the_poison_works(poison):
    done = grpokit(
        path=poison, code="import subprocess, sys\ntry: import torch\nexcept ImportError: pass"
    )
    assert done.returncode == 0
    assert (poison / "torch.imported").exists()


@pytest.mark.parametrize("command", LIGHT, ids=" ".join)
def test_light_commands_import_nothing_heavy(poison, command):
    if not there(command):
        pytest.skip(f"the command {command[0]} is not there yet")
    done = grpokit(*command, path=poison)
    assert sorted(poison.glob("*.imported")) == []
    assert "Traceback" not in done.stderr
    # 3: this machine lacks the recipe's model, which a plan may say.
    assert done.returncode in ((0, 3) if command[0] in ("plan", "doctor") else (0,)), done.stderr


def test_help_imports_no_command():
    code = (
        "import sys; from grpokit.cli.main import main; main(['--help'])\n"
        "from grpokit.cli.commands import COMMANDS\n"
        "print([t for t, _ in COMMANDS.values() if t.partition(':')[0] in sys.modules], file=sys.stderr)"
    )
    assert grpokit(code=code).stderr == "[]\n"


def test_the_plugin_interface_imports_no_pydantic():
    code = "import sys, grpokit.api; print('pydantic' in sys.modules)"
    assert grpokit(code=code).stdout == "False\n"


def test_the_pytest_plugin_is_light():
    code = "import pytest, sys; before = set(sys.modules); import grpokit.testing\nprint({name for name in set(sys.modules) - before if name.startswith(('grpokit.', 'pydantic', 'pluggy'))})"
    assert grpokit(code=code).stdout == "{'grpokit.testing'}\n"


def test_commands_start_in_time():
    commands = [command for command in startup.COMMANDS if there(command)]
    times = {}
    for _ in range(4):  # noise only adds time: a busy machine gets more rounds
        startup.measure(commands, 5, times)
        found = startup.ratios(times)
        if max(found.values()) <= startup.LIMIT:
            break
    assert max(found.values()) <= startup.LIMIT, found


def test_the_script_prints_a_line_a_command():
    done = subprocess.run(
        [sys.executable, startup.__file__, "1"], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 1 + len(startup.COMMANDS)
