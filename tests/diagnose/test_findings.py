"""What a finding tells people to change can be changed."""

from __future__ import annotations

import re

import pytest

from grpokit.diagnose import broken, drift, groups, hacking, pace, texts
from grpokit.diagnose.diagnosis import IMMEDIATE, MONITORS
from grpokit.diagnose.findings import FINDINGS
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import config_model
from grpokit.registry.settings import describe
from grpokit.spec.recipe import Recipe


@pytest.mark.parametrize("name", FINDINGS)
def test_keys_of_the_recipe_exist(name: str) -> None:
    known = {item.name for item in describe(Recipe)}
    catalog = Catalog.load({"GRPOKIT_PLUGINS": ""})
    model = config_model(catalog.find("algorithm", "grpo"))
    assert model is not None
    known |= {f"algorithm.with.{item.name}" for item in describe(model)}
    remedy = FINDINGS[name].remedy
    for key in FINDINGS[name].keys:
        assert key in known or key == "backend.with", key
    for use in re.findall(r"algorithm\.use: ([a-z0-9-]+)", remedy):
        assert catalog.find("algorithm", use)


@pytest.mark.parametrize("name", FINDINGS)
def test_every_finding_has_a_limit_and_a_remedy(name: str) -> None:
    kind = FINDINGS[name]
    assert kind.meaning
    assert kind.remedy
    assert kind.warn or kind.stop


def test_every_monitor_is_asked() -> None:
    asked = {monitor.__name__ for monitor in (*IMMEDIATE, *MONITORS)}
    written = {
        name for module in (broken, drift, groups, hacking, pace, texts) for name in module.__all__
    }
    assert written - {"all_equal"} == asked
