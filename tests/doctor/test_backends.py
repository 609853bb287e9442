"""Backends, tried; and plugins that fail while they are tried."""

import json
from importlib import metadata

import pytest

from dists import grpokit, install
from grpokit.doctor.advice import rules_on
from grpokit.doctor.backends import try_backends
from grpokit.doctor.checkup import checkup_json, examine
from grpokit.registry.catalog import Catalog
from grpokit.versions.installed import Installed
from grpokit.versions.table import load_table

HOOKS = """
from grpokit.api import BackendSpec, hookimpl

@hookimpl
def grpokit_backends():
    return [BackendSpec(name="{name}", summary="A backend.", target="json:dumps",
                        preflight="{preflight}")]
"""
PREFLIGHTS = """
from grpokit.api import Preflight, Problem

def good(recipe):
    return Preflight(device="abacus")

def bad(recipe):
    problem = Problem(level="error", code="B001", key="model.id",
                      fact="no \\x1b[31mbeads for " + recipe.model.id, remedy="buy beads")
    return Preflight(problems=(problem,))

def raises(recipe):
    raise ZeroDivisionError("beads")
"""


def doctor(path, **env):
    done = grpokit("doctor", "--json", path=path, env={"HF_HUB_OFFLINE": "1", **env})
    return done, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("function", "runs", "said"),
    [
        ("beads.preflights:good", True, ""),
        ("beads.preflights:bad", False, "beads for"),
        ("beads.preflights:raises", False, "ZeroDivisionError: beads"),
        ("beads.nothing:here", False, "beads.nothing"),
        ("", True, ""),
    ],
)
def test_a_strangers_backend_is_tried_and_can_fail(tmp_path, function, runs, said):
    hooks = HOOKS.format(name="abacus", preflight=function)
    install(tmp_path, "beads", hooks, files={"preflights.py": PREFLIGHTS})
    done, found = doctor(tmp_path)
    assert "Traceback" not in done.stderr
    (state,) = [each for each in found["backends"] if each["name"] == "beads/abacus"]
    assert state["runs"] is runs
    assert said in " ".join(problem["fact"] for problem in state["problems"])
    ours = {each["name"]: each["runs"] for each in found["backends"]}
    assert set(ours) >= {"hf", "vllm", "trl", "unsloth"}  # the others are there all the same


def test_without_the_default_backend_the_exit_code_says_so(tmp_path):
    done, found = doctor(tmp_path, GRPOKIT_PLUGINS="")
    assert done.returncode == 3
    assert found["healthy"] is False
    (state,) = [each for each in found["backends"] if each["name"] == "hf"]
    assert "blocked" in state["problems"][0]["fact"]


def test_a_broken_plugin_is_named(tmp_path):
    install(tmp_path, "rusty", "raise RuntimeError('rust')")
    done, found = doctor(tmp_path)
    (told,) = [each for each in found["plugins"] if each["distribution"] == "rusty"]
    assert told["state"] == "broken"
    assert "rust" in told["reason"]
    assert done.returncode == (0 if found["healthy"] else 3)


def test_a_missing_backend_comes_with_the_command():
    nothing = Installed(versions={}, machine="cpu")
    states = {
        each.name: each
        for each in try_backends(Catalog.load({"GRPOKIT_PLUGINS": ""}), load_table(), nothing)
    }
    for name, state in states.items():
        assert not state.runs
        assert not state.installed
        assert state.install == f"grpokit doctor --write-constraints {name}"


def test_missing_packages_are_said_once():
    states = {
        each.name: each
        for each in try_backends(
            Catalog.load(), load_table(), Installed(versions={"torch": "2.13.0"}, machine="cpu")
        )
    }
    (problem,) = states["vllm"].problems
    assert "transformers" in problem.fact
    assert "vllm" in problem.fact
    assert states["vllm"].device == ""  # its preflight was not asked


def test_the_checkup_reads_what_is_installed():
    found = examine(Catalog.load())
    versions = {each.name: each.version for each in found.packages}
    assert versions["pydantic"] == metadata.version("pydantic")
    assert json.loads(json.dumps(checkup_json(found)))["kind"] in ("cpu", "cuda")
    assert found.healthy == next(each.runs for each in found.backends if each.name == "hf")


def test_every_rule_is_listed_once_with_source_and_key():
    from grpokit.compose.load import load_recipe
    from grpokit.compose.plan import make_plan
    from grpokit.compose.rules import RULES

    catalog = Catalog.load()
    plan = make_plan(load_recipe("quickstart", catalog=catalog), catalog)
    advice = rules_on(plan)
    assert [(each.code, each.key) for each in advice] == list(
        dict.fromkeys((rule.id, rule.key) for rule in RULES)
    )
    assert all(each.source and each.key for each in advice)
    spoken = {(each.code, each.key) for each in advice if each.level != "ok"}
    assert spoken == {(p.code, p.key) for p in plan.findings if p.code.startswith("H")} != set()
    assert {each.level for each in advice} >= {"ok", "info"}
