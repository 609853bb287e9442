"""The page of the rewards' rates has every reward, and what the check says today."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from doc_pages import ROOT
from grpokit.registry.catalog import Catalog

PAGE = (ROOT / "docs/rewards-card.md").read_text("utf-8")


@pytest.fixture(scope="module")
def card():
    spec = importlib.util.spec_from_file_location("rewards_card", ROOT / "docs/rewards_card.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["rewards_card"] = module
    spec.loader.exec_module(module)
    return module


def test_every_reward_has_a_row(card):
    entries = card.entries(Catalog.load())
    missing = [entry.id for entry in entries if f"| `{entry.id}` |" not in PAGE]
    assert not missing, "run: python docs/rewards_card.py"
    assert len(entries) > 20
    told = {entry.id for entry in entries} | set(card.ELSEWHERE)
    installed = Catalog.load().entries("reward")
    ours = {entry.id for entry in installed if entry.plugin.distribution in card.OURS}
    assert told == ours


@pytest.mark.parametrize("name", ["number", "contains", "math/accuracy"])
def test_a_row_says_what_the_check_says(card, name):
    entry = Catalog.load().find("reward", name)
    line = card.row(entry, card.report_of(entry))
    assert line in PAGE.splitlines(), "run: python docs/rewards_card.py"


def test_what_is_meant_to_be_sound_is_sound():
    rows = {line.split("|")[1].strip(" `"): line for line in PAGE.splitlines() if "| `" in line[:3]}
    for name in ("number", "math/accuracy"):
        assert rows[name].count("(0.0%)") == 2
        assert rows[name].endswith("| none |")
