"""The page of the rewards' rates has every reward, and what the check says today."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from doc_pages import ROOT
from grpokit.registry.catalog import Catalog
from grpokit.scoring.facts import needs_model

PAGE = (ROOT / "docs/rewards-card.md").read_text("utf-8")
FRESH = "run: python docs/rewards_card.py"


@pytest.fixture(scope="module")
def card():
    folder = str(ROOT / "docs")
    sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location("rewards_card", ROOT / "docs/rewards_card.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["rewards_card"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(folder)


def missing(card, page):
    """Registered rewards of this repository without a line of their own."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    ids = [entry.id for entry in card.entries(Catalog.load())]
    return [name for name in ids if sum(line.startswith(f"| `{name}` |") for line in lines) != 1]


def test_every_registered_reward_has_a_row(card):
    assert missing(card, PAGE) == [], FRESH
    line = next(line for line in PAGE.splitlines() if line.startswith("| `math/accuracy`"))
    assert missing(card, PAGE.replace(line, "")) == ["math/accuracy"]
    ids = {entry.id for entry in card.entries(Catalog.load())}
    assert len(ids) >= 37
    assert {each.partition("/")[0] for each in ids} >= {
        *("cppo", "math", "reasoning-gym", "rewards-model", "rewards-intrinsic", "example-reward")
    }


def test_what_was_run_instead_is_said_of_whatever_needs_it(card):
    for entry in card.entries(Catalog.load()):
        if needs_model(entry) or entry.spec.paid or entry.id in (card.MODEL, card.TASK):
            assert f"- `{entry.id}`: {card.INSTEAD[entry.id]}." in PAGE.splitlines(), FRESH


def test_every_reward_but_those_that_need_a_model_has_a_scoreboard(card):
    heads = "\n".join(line for line in PAGE.splitlines() if line.startswith("| strategy |"))
    for entry in card.entries(Catalog.load()):
        assert (f" `{entry.id}` |" in heads) != (needs_model(entry) or entry.id == card.MODEL)


@pytest.mark.parametrize("name", ["contains", "math/accuracy", "format", "rewards-intrinsic/brier"])
def test_a_row_says_what_the_check_says(card, name):
    line = card.row(card.carded(Catalog.load().find("reward", name)))
    assert line in PAGE.splitlines(), FRESH


def test_what_is_meant_to_be_sound_is_sound():
    rows = {line.split("|")[1].strip(" `"): line for line in PAGE.splitlines() if "| `" in line[:3]}
    for name in ("number", "math/accuracy", "rewards-model/judge"):
        assert rows[name].count("(0.0%)") == 2
        assert rows[name].endswith("| none |")
    for name, line in rows.items():
        assert "contract.determinism" not in line, name
        assert "contract.threads" not in line, name
