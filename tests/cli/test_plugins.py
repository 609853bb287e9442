"""`grpokit plugins`: what it says about healthy, broken and ambiguous components."""

import json

import pytest

from dists import grpokit, install, reward_hooks

HOOKS = """
from grpokit.api import AlgorithmSpec, BackendSpec, RewardSpec, hookimpl

@hookimpl
def grpokit_rewards():
    return [
        RewardSpec(name="shout", summary="Loud [b]text[/b] \\x1b[31m.", target="grpokit_shown.code:shout",
                   config="grpokit_shown.code:ShoutConfig", columns=("answer",), range=None,
                   deterministic=False),
        RewardSpec(name="lost", summary="Broken.", target="grpokit_shown.code:shout",
                   config="grpokit_shown.code:Nowhere"),
        RewardSpec(name="twice", summary="Mine.", target="grpokit_shown.code:shout"),
    ]

@hookimpl
def grpokit_algorithms():
    return [AlgorithmSpec(name="shout", summary="An algorithm.", target="grpokit_shown.code:shout",
                          paper="2402.03300", needs=frozenset({"lora", "entropy"}))]
"""
CODE = '''
from pydantic import Field
from grpokit.api import Config

class ShoutConfig(Config):
    volume: int = Field(default=3, ge=1)
    """How [loud] it is."""
    words: list[str]
    """Which words."""

def shout(config):
    return None
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    install(folder, "grpokit-shown", HOOKS, version="1.2", files={"code.py": CODE})
    install(folder, "grpokit-second", reward_hooks("twice"))
    install(folder, "grpokit-broken", "1 / 0")
    return folder


def test_list(folder):
    done = grpokit("plugins", "list", path=folder)
    assert done.returncode == 0
    (row,) = [line.split(None, 3) for line in done.stdout.splitlines() if line.startswith("shown ")]
    assert row == [
        "shown",
        "1.2",
        "loaded",
        "reward: shown/shout, shown/lost, shown/twice; algorithm: shown/shout",
    ]


def test_list_by_kind(folder):
    done = grpokit("plugins", "list", "--kind", "reward", path=folder)
    assert r"shown/shout" in done.stdout
    assert r"Loud [b]text[/b] \x1b[31m." in done.stdout
    assert "grpo " not in done.stdout
    done = grpokit("plugins", "list", "--kind", "reward", "--json", path=folder)
    ids = [item["id"] for item in json.loads(done.stdout)["components"]]
    assert {"second/twice", "shown/twice"} <= set(ids)


def test_show_a_component_with_its_settings(folder):
    done = grpokit("plugins", "show", "shown/shout", "--kind", "reward", path=folder)
    assert done.returncode == 0
    told = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert {
        "reward shown/shout",
        "plugin shown (grpokit-shown 1.2)",
        "target grpokit_shown.code:shout",
        "columns answer",
        "deterministic no",
        "volume integer (>= 1) 3 How [loud] it is.",
        "words list of text required Which words.",
    } <= told


def test_show_as_json(folder):
    done = grpokit("plugins", "show", "shout", "--json", path=folder)
    data = json.loads(done.stdout)
    assert data["plugins"] == []
    assert [item["kind"] for item in data["components"]] == ["reward", "algorithm"]
    reward, algorithm = data["components"]
    assert (reward["distribution"], reward["version"], reward["range"]) == (
        "grpokit-shown",
        "1.2",
        None,
    )
    assert len(reward["source_hash"]) == 16
    assert reward["settings"][0] == {
        "name": "volume",
        "type": "integer (>= 1)",
        "required": False,
        "default": "3",
        "doc": "How [loud] it is.",
    }
    assert algorithm["needs"] == ["entropy", "lora"]
    assert algorithm["settings"] == []


def test_settings_that_cannot_be_read_hide_nothing_else(folder):
    done = grpokit("plugins", "show", "lost", path=folder)
    assert done.returncode == 0
    assert "reward shown/lost" in done.stdout
    assert "settings cannot be read" in done.stdout
    assert "has no attribute 'Nowhere'" in done.stdout


def test_an_ambiguous_name_shows_both(folder):
    done = grpokit("plugins", "show", "twice", path=folder)
    assert "reward shown/twice" in done.stdout
    assert "reward second/twice" in done.stdout


def test_show_a_broken_plugin(folder):
    done = grpokit("plugins", "show", "broken", "--json", path=folder)
    (plugin,) = json.loads(done.stdout)["plugins"]
    assert plugin["state"] == "broken"
    assert "ZeroDivisionError" in plugin["trace"]


def test_show_something_unknown(folder):
    done = grpokit("plugins", "show", "shwon", path=folder)
    assert done.returncode == 3
    assert (
        done.stderr
        == "error: no plugin and no component is named 'shwon'; did you mean 'shown' or 'shout'?\n"
    )


def test_show_core_s_algorithm():
    done = grpokit("plugins", "show", "grpo")
    assert "paper          2402.03300" in done.stdout
    assert "epsilon" in done.stdout
