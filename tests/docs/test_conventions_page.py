"""docs/conventions.md says of every algorithm and part of core what it was checked against."""

from __future__ import annotations

import re

from doc_pages import ROOT
from grpokit.builtins.hooks import grpokit_algorithms

PAGE = (ROOT / "docs/conventions.md").read_text("utf-8")


def test_every_algorithm_and_part_has_a_row():
    table = PAGE.split("<!-- checked: names -->")[1].split("<!-- end -->")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    missing = {spec.name for spec in grpokit_algorithms()} - told
    assert not missing, "docs/conventions.md: add a row that says which code was run or read"


def test_settings_that_the_page_names_exist():
    from grpokit.registry.resolve import resolve

    settings = {
        name
        for spec in grpokit_algorithms()
        if spec.config
        for name in resolve(spec.config).model_fields
    } | set(resolve("grpokit_cppo.config:PruneConfig").model_fields)
    choices = PAGE.split("## The choices")[1].split("## What cannot")[0]
    cells = [line.split("|")[3] for line in choices.splitlines() if line.startswith("| ")][1:]
    told = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert told - settings == set()
    assert len(told) > 12
