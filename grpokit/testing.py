"""Pytest plugin for authors of grpokit plugins: two checks, as functions and as fixtures.

    from grpokit.testing import check_plugin, check_reward

    def test_the_plugin_is_in_order():
        check_plugin("my-plugin")

    def test_the_contract():
        check_reward("my-plugin/polite", {"question": "Hi?", "answer": "Hello"})

pytest loads this module at every start, also where nobody uses it, so it imports nothing else of
grpokit until a check runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.scoring.call import RewardCall
    from grpokit.scoring.values import Outcome

__all__ = ["PROBES", "check_plugin", "check_reward"]

Row = Mapping[str, Any]

PROBES: Mapping[str, str] = {
    "empty": "",
    "blank": " \n\t ",
    "words": "The answer is 4, because two and two are four.",
    "unicode": "答案是四 \u0664 \uff14 \u2212 \u202e 👩\u200d🔬 e\u0301 \ufeff",
    "control": "\x00\x1b[31mred\x1b[0m\r\x07",
    "lone surrogate": "\ud800",
    "markup": "[/INST] <answer> {braces} %s $\\boxed{\\frac{1}{2}}$ <think></think>",
    "open braces": "\\boxed{" * 2000,
    "long word": "a" * 100_000,
    "long digits": "7" * 100_000,
    "long text": "4 = 2 + 2. " * 9_091,
}
"""Completions that a model can emit and every reward must survive."""

SECONDS = 2.0
"""What one call may take, on the longest probe."""


def check_plugin(name: str) -> None:
    """Checks an installed plugin: loaded, every spec resolves, settings documented, recipes valid.

    Raises:
        AssertionError: with every problem, one a line.
    """
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load()
    records = [record for record in catalog.plugins if record.name == name]
    if not records:
        installed = ", ".join(record.name for record in catalog.plugins)
        raise AssertionError(f"no plugin {name!r} is installed; installed: {installed}")
    problems = [
        f"the plugin is {record.state}: {record.reason}\n{record.trace}"
        for record in records
        if not record.loaded
    ]
    if not problems and not records[0].specs and not records[0].recipes:
        problems.append("it registers nothing")
    for entry in catalog.entries():
        if entry.plugin.name == name:
            problems += [f"{entry.kind} {entry.id}: {text}" for text in _spec_problems(entry)]
    problems += _recipe_problems(catalog, name)
    _fail(f"plugin {name!r}", problems)


def check_reward(
    reward: str | Callable[..., Any], *rows: Row, settings: Mapping[str, Any] | None = None
) -> None:
    """Checks what every reward promises, on hostile and odd completions.

    A finite number or None for each completion, no exception, within the declared range, the same
    answer when asked twice, and within two seconds for a completion of 100,000 characters.

    Args:
        reward: id or name of an installed reward, or the function itself.
        rows: data set rows; a question with the answer 4 when left out. Each row's ``answer`` is a
            probe of its own.
        settings: what stands under ``with:``; only for a reward given by name.

    Raises:
        AssertionError: with every problem, one a line.
    """
    from grpokit.registry.catalog import Catalog
    from grpokit.registry.resolve import create
    from grpokit.scoring.call import RewardCall
    from grpokit.spec.components import RewardSpec

    bounds, deterministic, function = None, True, reward
    if isinstance(reward, str):
        entry = Catalog.load().find("reward", reward)
        function = create(entry, settings or {})
        if isinstance(entry.spec, RewardSpec):
            bounds, deterministic = entry.spec.range, entry.spec.deterministic
    assert callable(function)
    problems: list[str] = []
    call = RewardCall(function)
    for number, row in enumerate(rows or ({"question": "What is 2 + 2?", "answer": "4"},)):
        found = list(_reward_problems(call, row, bounds, deterministic=deterministic))
        problems += [f"row {number}: {text}" for text in found]
    call.close()
    _fail(f"reward {getattr(reward, '__name__', reward)!r}", problems)


@pytest.fixture(name="check_plugin")
def _check_plugin() -> Callable[[str], None]:
    """The function :func:`check_plugin`."""
    return check_plugin


@pytest.fixture(name="check_reward")
def _check_reward() -> Callable[..., None]:
    """The function :func:`check_reward`."""
    return check_reward


def _fail(what: str, problems: list[str]) -> None:
    if problems:
        raise AssertionError("\n".join([f"{what} has {len(problems)} problem(s)", *problems]))


def _spec_problems(entry: Entry) -> Iterator[str]:
    from grpokit.errors import ComponentError
    from grpokit.registry.resolve import config_model, resolve
    from grpokit.registry.settings import describe
    from grpokit.spec.components import RewardSpec

    spec = entry.spec
    if not spec.summary.strip():
        yield "the summary is empty"
    for target in filter(None, (spec.target, getattr(spec, "preflight", ""))):
        try:
            found = resolve(target, entry)
        except ComponentError as error:
            yield str(error)
            continue
        if entry.kind != "command" and not callable(found):
            yield f"{target} cannot be called"
        elif isinstance(spec, RewardSpec) and not spec.config:
            yield from _signature_problems(found, spec.columns)
    try:
        model = config_model(entry)
    except ComponentError as error:
        yield str(error)
        return
    for setting in describe(model) if model is not None else ():
        if not setting.doc:
            yield f"the setting {setting.name!r} has no docstring; `plugins show` would show nothing"


def _signature_problems(function: Callable[..., Any], columns: tuple[str, ...]) -> Iterator[str]:
    from grpokit.errors import ComponentError
    from grpokit.scoring.signature import ask

    try:
        asked = ask(function)
    except ComponentError as error:
        yield str(error)
        return
    unused = set(columns) - {*asked.required, *asked.optional}
    if columns and unused and not asked.everything and asked.form == "row":
        yield f"columns names {sorted(unused)}, and the function has no such parameter"


def _recipe_problems(catalog: Catalog, name: str) -> Iterator[str]:
    from grpokit.compose.load import load_recipe
    from grpokit.errors import GrpokitError, RecipeError

    for plugin, folder in catalog.recipe_folders():
        for item in folder.iterdir() if plugin == name else ():
            if not item.name.endswith((".yaml", ".yml")):
                continue
            try:
                load_recipe(f"{plugin}/{item.name.rpartition('.')[0]}", catalog=catalog)
            except GrpokitError as error:
                lines = error.problems if isinstance(error, RecipeError) else ()
                yield "\n".join([f"recipe {item.name}: {error}", *lines])


def _reward_problems(
    call: RewardCall, row: Row, bounds: tuple[float, float] | None, *, deterministic: bool
) -> Iterator[str]:
    missing = call.asked.missing(tuple(row))
    if missing:
        yield f"it asks for {', '.join(missing)}; the row has {', '.join(row)}"
        return
    probes = dict(PROBES)
    if "answer" in row:
        probes["the answer"] = str(row["answer"])
        probes["the answer, boxed"] = f"So it is \\boxed{{{row['answer']}}}."
    for name, text in probes.items():
        began = time.perf_counter()
        first = _score(call, row, text)
        seconds = time.perf_counter() - began
        yield from (f"{name!r}: {problem}" for problem in _outcome_problems(first, bounds))
        if seconds > SECONDS:
            yield f"{name!r}: took {seconds:.1f} s; the limit is {SECONDS:g} s"
        elif deterministic and first.fault is None:
            again = _score(call, row, text)
            if again.value != first.value:
                yield f"{name!r}: scored {first.value} first and {again.value} again"


def _outcome_problems(outcome: Outcome, bounds: tuple[float, float] | None) -> Iterator[str]:
    if outcome.fault is not None:
        yield f"{outcome.fault.message}; {outcome.fault.remedy}"
    elif bounds is not None and outcome.value is not None:
        low, high = bounds
        if not low <= outcome.value <= high:
            yield f"scored {outcome.value}, outside its declared range {low} to {high}"


def _score(call: RewardCall, row: Row, text: str) -> Outcome:
    from grpokit.scoring.call import Batch, Item, Question

    question = Question(row, ({"role": "user", "content": str(row.get("question", ""))},))
    batch = Batch((question,), (Item(question=0, sample=0, completion=text, tokens=len(text)),))
    outcomes: list[Outcome] = []
    call.run(batch, [[0]], lambda _number, found: outcomes.extend(found))
    return outcomes[0]
