"""Discovery of really installed distributions, each command in a process of its own."""

import importlib.util
import json

import pytest

from dists import grpokit, install, pip_install, plugins, reward_hooks

HEALTHY = """
import os
from importlib.resources import files
from grpokit.api import CommandSpec, DatasetSpec, RewardSpec, hookimpl

GRPOKIT_HOOK_API = 1
print("noise from Python")
os.system("echo noise from a child process")

@hookimpl
def grpokit_rewards():
    print("noise from a hook")
    return (RewardSpec(name=name, summary="[b]S[/b] \\x1b[31m", target="grpokit_healthy.code:shout")
            for name in ("shout", "exact"))

@hookimpl
def grpokit_datasets():
    return [DatasetSpec(name="shout", summary="", target="grpokit_healthy.code:missing.attribute")]

@hookimpl
def grpokit_commands():
    return [CommandSpec(name="greet", summary="Greets [you].", target="grpokit_healthy.cli:app"),
            CommandSpec(name="plan", summary="Not core's.", target="grpokit_healthy.cli:app"),
            CommandSpec(name="faulty", summary="", target="grpokit_healthy.cli:boom")]

@hookimpl
def grpokit_recipes():
    return [files("grpokit_healthy") / "recipes"]
"""
HEALTHY_FILES = {
    "code.py": 'print("late noise")\ndef shout(completion):\n    return float(completion.isupper())\n',
    "needs.py": "import a_package_that_nobody_has\n",
    "quits.py": "raise SystemExit(9)\n",
    "cli.py": """
        import typer
        app = typer.Typer()
        boom = 3
        @app.command()
        def greet(name: str = "you", crash: bool = False):
            if crash:
                raise RuntimeError("very \\x1b[31m bad")
            print("hello", name)
    """,
    "recipes/loud.yaml": "grpokit: 1\n",
}
ROUND = "from grpokit.api import hookimpl\n@hookimpl\ndef "

BAD = {
    "grpokit-noimport": ("import does_not_exist_xyz", "broken", "No module named 'does_not_exist"),
    "grpokit-exits": ("raise SystemExit(3)", "broken", "SystemExit: 3"),
    "grpokit-quits": ("import sys\nsys.exit()", "broken", "SystemExit"),
    "grpokit-base": ("class E(BaseException): pass\nraise E('odd')", "broken", "E: odd"),
    "grpokit-syntax": ("def (:", "broken", "SyntaxError"),
    "grpokit-badsig": (f"{ROUND}grpokit_rewards(config): return []", "broken", "hook signature"),
    "grpokit-newer": (
        f"GRPOKIT_HOOK_API = 99\n{ROUND}grpokit_rewards(): return []",
        "incompatible",
        "pip install -U grpokit",
    ),
    "grpokit-newest": (
        "from grpokit.api import Unheard\nGRPOKIT_HOOK_API: int = 7",
        "incompatible",
        "hook API 7",
    ),
    "grpokit-unheard": (
        "from grpokit.api import Unheard",
        "incompatible",
        "pip install -U grpokit",
    ),
    "grpokit-badapi": ("GRPOKIT_HOOK_API = 'one'", "broken", "must be a number"),
    "grpokit-newhook": (
        f"{ROUND}grpokit_schedulers(): return []",
        "incompatible",
        "grpokit_schedulers",
    ),
    "grpokit-typo": (f"{ROUND}grpokit_reward(): return []", "broken", "mean 'grpokit_rewards'"),
    "grpokit-unmarked": ("def grpokit_rewards(): return []", "broken", "not marked with @hookimpl"),
    "grpokit-raises": (f"{ROUND}grpokit_rewards(): 1 / 0", "broken", "ZeroDivisionError"),
    "grpokit-lazy": (f"{ROUND}grpokit_rewards():\n    yield 1 / 0", "broken", "ZeroDivisionError"),
    "grpokit-hookexit": (f"{ROUND}grpokit_rewards(): raise SystemExit", "broken", "SystemExit"),
    "grpokit-none": (f"{ROUND}grpokit_rewards(): pass", "broken", "returned None"),
    "grpokit-single": (
        reward_hooks("x").replace("return [", "return (").replace(")]", "))"),
        "broken",
        "a single RewardSpec",
    ),
    "grpokit-text": (f"{ROUND}grpokit_rewards(): return 'ab'", "broken", "an object of type str"),
    "grpokit-wrongkind": (
        reward_hooks("x").replace("RewardSpec", "DatasetSpec"),
        "broken",
        "must return RewardSpec",
    ),
    "grpokit-badname": (reward_hooks("Not A Name"), "broken", "lower-case letters"),
    "grpokit-badtarget": (reward_hooks("x", "no colon"), "broken", "package.module:attribute"),
    "grpokit-double": (
        reward_hooks("x").replace("return [", "return 2 * ["),
        "broken",
        "2 components",
    ),
    "grpokit-nofolder": (
        f"from pathlib import Path\n{ROUND}grpokit_recipes(): return [Path('/no/where')]",
        "broken",
        "no folder",
    ),
    "grpokit-stale": (None, "broken", "No module named 'grpokit_stale'"),
    "grpokit-core": (reward_hooks("x"), "conflict", "grpokit's own"),
    "grpokit-twin": (reward_hooks("x"), "conflict", "grpokit-twin 1.0 and twin 1.0"),
    "twin": (reward_hooks("x"), "conflict", "grpokit-twin 1.0 and twin 1.0"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    install(folder, "grpokit-healthy", HEALTHY, files=HEALTHY_FILES)
    install(
        folder, "Other.Rewards", reward_hooks("shout", "grpokit_healthy.needs:x"), version="2.0"
    )
    install(folder, "grpokit-quitter", reward_hooks("quitter", "grpokit_healthy.quits:x"))
    for name, (hooks, *_) in BAD.items():
        install(folder, name, hooks)
    install(folder, "grpokit-malformed", "", points="[grpokit]\nno equals sign\n")
    install(folder, "unrelated", "", points="[console_scripts\nbroken")
    binary = folder / "binary-1.0.dist-info"
    binary.mkdir()
    (binary / "entry_points.txt").write_bytes(b"\xff\xfe[grpokit]")
    return folder


@pytest.fixture(scope="module")
def listed(folder):
    return plugins(folder)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_plugin_has_a_state_and_a_reason(listed, name):
    _, state, reason = BAD[name]
    assert listed[name]["state"] == state
    assert reason in listed[name]["reason"]
    assert listed[name]["components"] == {}


def test_healthy_plugins_are_loaded_beside_them(listed):
    healthy = listed["grpokit-healthy"]
    assert healthy["state"] == "loaded"
    assert healthy["name"] == "healthy"
    assert healthy["components"]["reward"] == ["healthy/shout", "healthy/exact"]
    assert healthy["components"]["recipe"] == ["healthy/loud"]
    assert listed["Other.Rewards"]["components"] == {"reward": ["other-rewards/shout"]}
    assert listed["grpokit"]["state"] == "loaded"


def test_malformed_metadata_breaks_only_its_owner(listed):
    assert listed["grpokit-malformed"]["state"] == "broken"
    assert "malformed" in listed["grpokit-malformed"]["reason"]
    assert "unrelated" not in listed


def test_what_plugins_print_never_reaches_stdout(folder):
    done = grpokit("plugins", "list", "--json", path=folder)
    json.loads(done.stdout)
    for noise in ("noise from Python", "noise from a child process", "noise from a hook"):
        assert noise in done.stderr


def test_the_table_says_what_is_broken_and_why(folder):
    done = grpokit("plugins", "list", path=folder)
    assert done.returncode == 0
    assert "exits is broken: importing grpokit_exits.hooks failed: SystemExit: 3" in done.stdout
    assert "\x1b" not in done.stdout


def test_show_prints_the_traceback_of_a_broken_plugin(folder):
    done = grpokit("plugins", "show", "raises", path=folder)
    assert done.returncode == 0
    assert "Traceback" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "grpokit_raises" in done.stdout


def test_help_lists_plugin_commands_and_survives(folder):
    done = grpokit("--help", path=folder)
    assert done.returncode == 0
    assert "greet" in done.stdout
    assert "Greets [you]." in done.stdout
    assert "healthy/plan" in done.stdout


def test_a_plugin_command_runs(folder):
    assert grpokit("greet", "--name", "Ada", path=folder).stdout == "hello Ada\n"
    assert grpokit("healthy/greet", path=folder).stdout == "hello you\n"
    assert grpokit("healthy/plan", path=folder).stdout == "hello you\n"


def test_a_faulty_plugin_command_is_an_error_with_its_owner(folder):
    done = grpokit("faulty", path=folder)
    assert done.returncode == 3
    assert "command healthy/faulty (grpokit-healthy 1.0)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args", [("recipes", "list"), ("models", "list"), ("recipes", "check", "quickstart")]
)
def test_other_commands_keep_working(folder, args):
    if importlib.util.find_spec(f"grpokit.cli.{args[0]}") is None:
        pytest.skip(f"the command {args[0]} is not there yet")
    done = grpokit(*args, path=folder)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("env", "loaded"),
    [
        ({"GRPOKIT_PLUGINS": ""}, []),
        ({"GRPOKIT_PLUGINS": "healthy"}, ["grpokit-healthy"]),
        (
            {"GRPOKIT_PLUGINS": " grpokit_healthy , other.rewards"},
            ["Other.Rewards", "grpokit-healthy"],
        ),
        (
            {"GRPOKIT_PLUGINS": "healthy,quitter", "GRPOKIT_DISABLE": "healthy"},
            ["grpokit-quitter"],
        ),
    ],
)
def test_environment_variables_choose(folder, env, loaded):
    listed = plugins(folder, **env)
    states = {name: item["state"] for name, item in listed.items()}
    assert states.pop("grpokit") == "loaded"
    assert sorted(name for name, state in states.items() if state == "loaded") == loaded
    assert {state for name, state in states.items() if name not in loaded} == {"blocked"}


def test_disable_blocks_one_and_never_imports_it(folder):
    done = grpokit("plugins", "list", "--json", path=folder, env={"GRPOKIT_DISABLE": "healthy"})
    found = {item["name"]: item for item in json.loads(done.stdout)["plugins"]}
    assert found["healthy"]["state"] == "blocked"
    assert "GRPOKIT_DISABLE" in found["healthy"]["reason"]
    assert found["other-rewards"]["state"] == "loaded"
    assert "noise" not in done.stderr


def test_a_twin_alone_is_fine(tmp_path):
    install(tmp_path, "twin", reward_hooks("x"))
    assert plugins(tmp_path)["twin"]["state"] == "loaded"


def test_a_plugin_that_is_wanted_and_absent_is_named(tmp_path):
    found = plugins(tmp_path, GRPOKIT_PLUGINS="mathh")["mathh"]
    assert found["state"] == "broken"
    assert "no installed distribution" in found["reason"]


def test_an_installation_by_pip(tmp_path):
    pytest.importorskip("pip", reason="this environment was made without pip")
    site, wheels = tmp_path / "site", tmp_path / "wheels"
    wheels.mkdir()
    pip_install(site, wheels, "grpokit-by-pip", reward_hooks("piped"), version="3.1")
    found = plugins(site)["grpokit-by-pip"]
    assert (found["name"], found["version"], found["state"]) == ("by-pip", "3.1", "loaded")
    assert found["components"] == {"reward": ["by-pip/piped"]}


def test_the_first_on_the_path_hides_the_rest(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "grpokit-same", reward_hooks("new"), version="2.0")
    install(second, "grpokit-same", reward_hooks("old"), version="1.0")
    found = plugins(f"{first}:{second}")["grpokit-same"]
    assert (found["version"], found["components"]) == ("2.0", {"reward": ["same/new"]})


def test_ctrl_c_while_loading_ends_the_command(tmp_path):
    install(tmp_path, "grpokit-stop", "raise KeyboardInterrupt")
    done = grpokit("plugins", "list", path=tmp_path)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
