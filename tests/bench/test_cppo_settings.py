"""What is compared: kept completions, steps at equal questions, and the algorithm sections of the rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpokit.bench.cppo.settings import (
    RATES,
    SCALED,
    SKIPPING,
    Setting,
    Shape,
    make_settings,
    parse_rates,
)
from grpokit.cli import bench_cppo
from grpokit.errors import GrpokitError, PreflightError, RecipeError
from grpokit.registry.catalog import Catalog

GSM8K = Shape(prompts=1, group=16, questions=7473)
MATH = Shape(prompts=3, group=16, questions=7500)
PAPER = [  # rate, kept, GSM8K: questions a step and steps, MATH: the same
    (0.0, 16, 1, 7473, 3, 2500),
    (0.5, 8, 2, 3736, 6, 1250),
    (0.75, 4, 4, 1868, 12, 625),
    (0.875, 2, 8, 934, 24, 312),
    (0.9375, 1, 16, 467, 48, 156),
]
"""The authors' code on one and on three training GPUs. Two optimiser steps belong to each."""
RECIPE = """
grpokit: 1
model: {id: tiny-steps, lora: null}
dataset: {use: arithmetic}
rewards: [{use: number}]
algorithm: {use: grpo, with: {epsilon: 0.1}, parts: {advantage: {use: group-centred}}}
rollout: {prompts: 4, group: 16}
backend: {use: hf}
train: {steps: 100}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(RECIPE)
    return str(path)


def settings_of(recipe: str, catalog: Catalog, *overrides: str, **changes: object) -> list[Setting]:
    chosen: dict[str, object] = {"rates": (0.0, 0.5, 0.875), "skipping": (), "questions": None}
    made = make_settings(recipe, overrides=overrides, catalog=catalog, **{**chosen, **changes})  # type: ignore[arg-type]
    return list(made)


@pytest.mark.parametrize(("rate", "kept", "gsm8k", "gsm8k_steps", "math", "math_steps"), PAPER)
def test_the_arithmetic_is_that_of_the_authors_runs(
    rate: float, kept: int, gsm8k: int, gsm8k_steps: int, math: int, math_steps: int
) -> None:
    for shape, asked, steps in ((GSM8K, gsm8k, gsm8k_steps), (MATH, math, math_steps)):
        assert shape.kept(rate) == kept
        assert shape.asked(rate, allocation=True) == asked
        assert shape.steps(rate, allocation=True) == steps
        assert shape.asked(rate, allocation=False) == shape.prompts
        assert shape.steps(rate, allocation=False) == shape.questions // shape.prompts
        assert asked * kept == shape.prompts * shape.group, "a step trains on as many as GRPO's"
        assert 0 <= shape.questions - asked * steps < asked, "only an incomplete step is dropped"
        assert not shape.problem(rate)


@pytest.mark.parametrize(
    ("shape", "rate", "said"),
    [
        (GSM8K, 0.96875, "keeps 0.5 of 16 completions"),
        (GSM8K, 0.9, "keeps 1.6 of 16 completions"),
        (Shape(prompts=1, group=4, questions=9), 0.875, "of 4, 0.5, 0.75 can be pruned"),
        (Shape(prompts=1, group=9, questions=9), 0.5, "of 9, 0.888889, 0.666667 can be pruned"),
        (Shape(prompts=1, group=7, questions=9), 0.5, "of 7, 0.857143 can be pruned"),
        (Shape(prompts=1, group=8, questions=9), 0.625, "makes 2.66667 questions"),
        (Shape(prompts=4, group=16, questions=20), 0.875, "20 questions do not fill one step"),
    ],
)
def test_rates_that_do_not_fit_say_which_do(shape: Shape, rate: float, said: str) -> None:
    assert said in shape.problem(rate)


def test_rates_are_read_in_order_and_once() -> None:
    assert parse_rates(RATES) == (0.0, 0.5, 0.75, 0.875, 0.9375)
    assert parse_rates(" 0.75, .5,0.50 ") == (0.5, 0.75)
    assert parse_rates("") == ()
    assert (bench_cppo.RATES, bench_cppo.SKIPPING) == (RATES, SKIPPING)
    assert bench_cppo.SCALED == SCALED


@pytest.mark.parametrize("text", ["1.0", "abc", "0.5,-0.1", "nan", "inf", "0.5;0.75"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="no rate") as caught:
        parse_rates(text)
    assert caught.value.place == "--rates"


def test_grpo_comes_first_and_cppo_differs_in_two_parts(recipe: str, catalog: Catalog) -> None:
    found = settings_of(recipe, catalog, skipping=(0.0, 0.875))
    assert [each.label for each in found] == [
        "GRPO",
        "GRPO skip",
        "CPPO 0.5",
        "CPPO 0.5 alloc",
        "CPPO 0.875",
        "CPPO 0.875 alloc",
        "CPPO 0.875 alloc skip",
    ]
    assert [each.steps for each in found] == [100, 100, 100, 50, 100, 12, 12]
    assert [each.prompts for each in found] == [4, 4, 4, 8, 4, 32, 32]
    assert [each.kept for each in found] == [16, 16, 8, 8, 2, 2, 2]
    plain = (
        '{"use": "grpo", "with": {"epsilon": 0.1}, "parts": {"advantage": {"use": "group-centred"}'
    )
    select = ', "select": {"use": "cppo/prune", "with": {"rate": 0.5}}'
    allocate = ', "allocate": {"use": "cppo/allocate", "with": {"rate": 0.5}}'
    assert f"algorithm={plain}}}}}" in found[0].overrides
    assert f"algorithm={plain}{select}}}}}" in found[2].overrides
    assert f"algorithm={plain}{select}{allocate}}}}}" in found[3].overrides
    skips = [f"backend.with.skip={'true' if each.skipping else 'false'}" for each in found]
    assert all(skip in each.overrides for skip, each in zip(skips, found, strict=True))


def test_a_scaled_row_differs_in_its_learning_rate_alone(recipe: str, catalog: Catalog) -> None:
    found = settings_of(recipe, catalog, "optim.lr=1e-3", rates=(0.75,), scaled=(0.75,))
    assert [each.label for each in found] == [
        "GRPO",
        "CPPO 0.75",
        "CPPO 0.75 alloc",
        "CPPO 0.75 alloc lr",
    ]
    assert [each.scale for each in found] == [1.0, 1.0, 1.0, 2.0]
    same, scaled = found[2], found[3]
    assert scaled.overrides == (*same.overrides, "optim.lr=0.002")
    assert (scaled.steps, scaled.prompts, scaled.kept) == (same.steps, same.prompts, same.kept)


def test_rate_zero_with_allocation_is_grpo(recipe: str, catalog: Catalog) -> None:
    """So the tables have one row for both."""
    from grpokit_cppo.allocate import Allocate
    from grpokit_cppo.config import AllocationConfig, PruneConfig

    allocate = Allocate(config=AllocationConfig(rate=0.0))
    assert [allocate.first(prompts) for prompts in (1, 4, 7)] == [1, 4, 7]
    assert PruneConfig(rate=0.0).problem(questions=1, group=16) is None
    assert MATH.steps(0.0, allocation=True) == MATH.steps(0.0, allocation=False)
    assert [each.rate for each in settings_of(recipe, catalog, rates=(0.0,))] == [0.0]
    assert [each.rate for each in settings_of(recipe, catalog, rates=())] == [0.0]


def test_equal_questions_can_be_asked_for(recipe: str, catalog: Catalog) -> None:
    found = settings_of(recipe, catalog, questions=64)
    assert [each.steps for each in found] == [16, 16, 8, 16, 2]
    assert {each.steps * each.prompts for each in found} == {64}
    assert [each.steps for each in settings_of(recipe, catalog, "train.steps=8", rates=(0.5,))] == [
        *(8, 8, 4)
    ]


def test_a_recipe_of_cppo_keeps_its_settings_and_its_questions(
    recipe: str, catalog: Catalog
) -> None:
    path = Path(recipe)
    own = "{use: cppo/cppo, with: {rate: 0.75, allocation: fixed, scope: device, beta: 0.01}}"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(f"algorithm: {own}" if line.startswith("algorithm:") else line for line in lines)
    )
    grpo, without, allocated = settings_of(recipe, catalog, rates=(0.5,))
    assert grpo.steps * grpo.prompts == 100 * 16
    assert (allocated.steps, allocated.prompts) == (200, 8)
    kept = '"scope": "device", "beta": 0.01'
    rate, alloc = '"rate": 0.5', '"allocation": "fixed"'
    assert any(kept in text and '"rate": 0.0' in text for text in grpo.overrides)
    assert any(rate in text and '"allocation": "none"' in text for text in without.overrides)
    assert any(rate in text and alloc in text for text in allocated.overrides)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ("algorithm.use=rloo", RecipeError, "algorithm.use is the bench's own business"),
        ("backend.with.skip=true", RecipeError, "backend.with.skip is the bench's own business"),
        ("train.seed=3", RecipeError, "train.seed is the bench's own business"),
        ("backend={use: trl}", PreflightError, "trl cannot forward rows that move no weight"),
        ("rollout.grup=3", RecipeError, "1 problem"),
    ],
)
def test_changes_that_break_the_comparison_are_refused(
    recipe: str, catalog: Catalog, change: str, kind: type[GrpokitError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        settings_of(recipe, catalog, change)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{use: dapo}", "the recipe's algorithm is 'dapo': no relative of it"),
        ("{use: grpo, parts: {select: {use: drop-zero}}}", "part 'select' stands where"),
    ],
)
def test_other_algorithms_are_refused(
    recipe: str, catalog: Catalog, section: str, said: str
) -> None:
    path = Path(recipe)
    text = path.read_text()
    own = next(line for line in text.splitlines() if line.startswith("algorithm:"))
    path.write_text(text.replace(own, f"algorithm: {section}"))
    with pytest.raises(RecipeError, match=said):
        settings_of(recipe, catalog)


def test_the_default_task_fits_every_rate(catalog: Catalog) -> None:
    rates, skipping, scaled = map(parse_rates, (RATES, SKIPPING, SCALED))
    found = settings_of("bench-cppo", catalog, rates=rates, skipping=skipping, scaled=scaled)
    assert len(found) == 12
    assert {each.steps * each.prompts for each in found} == {1024}
    alone = [each for each in found if each.method == "CPPO alloc"]
    assert [each.kept for each in alone] == [8, 4, 2, 1]
