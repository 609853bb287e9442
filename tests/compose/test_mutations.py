"""Random damage to recipes: whatever comes out is a recipe or a list of problems, in time."""

import gc
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpokit.compose.diagnostics import RecipeProblems
from grpokit.compose.load import load_recipe
from grpokit.registry.catalog import Catalog

ROOT = Path(__file__).parents[2]
TEXTS = [
    file.read_text(encoding="utf-8")
    for folder in ("recipes", "tests/compose/bad_recipes")
    for file in sorted((ROOT / folder).glob("*.yaml"))
]
PIECES = [
    *"{}[]:,#&*!|>'\"%@`-?\n \t\\~", "null", "true", "yes", "1e-6", "012", "- ", "<<: ", "&a ", "*a",
    "!!x ", "---\n", "use", "with", "\x00", "\ufeff", "é", "{question}", "extends: quickstart\n", "[[",
    "9" * 70, ".nan", "rewards:", "grpokit:", "\r\n",
]  # fmt: skip


def damaged(dice):
    text = dice.choice(TEXTS)
    for _ in range(dice.randint(1, 6)):
        place, kind = dice.randrange(len(text) + 1), dice.random()
        if kind < 0.4:
            text = text[:place] + dice.choice(PIECES) + text[place:]
        elif kind < 0.6:
            text = text[:place] + text[place + dice.randint(1, 8) :]
        else:
            lines = text.split("\n")
            lines[dice.randrange(len(lines))] = dice.choice(dice.choice(TEXTS).split("\n"))
            text = "\n".join(lines)
    return text


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """What earlier tests left in this process would be counted as time."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("seed", range(4))
def test_nothing_but_problems_comes_out(seed, tmp_path):
    catalog = Catalog.load()
    dice = random.Random(seed)
    for _ in range(150):
        text = damaged(dice)
        (tmp_path / "r.yaml").write_text(text, encoding="utf-8", newline="")
        begin = time.process_time()
        lines = ("",)
        try:
            load_recipe("r.yaml", catalog=catalog, cwd=tmp_path)
        except RecipeProblems as error:
            lines = error.problems
        assert lines, text
        assert all(line.isprintable() for line in lines), text
        assert time.process_time() - begin < 0.5, text
