"""A receipt against what is here: nothing is trained, and no model is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from grpokit.compose.data import open_dataset
from grpokit.compose.diagnostics import clip
from grpokit.compose.diff import leaves
from grpokit.compose.records import component_records
from grpokit.compose.resources import environment
from grpokit.compose.rules import reward_name
from grpokit.errors import GrpokitError
from grpokit.evaluate.intervals import claim
from grpokit.evaluate.run import prepare
from grpokit.receipts.build import sampling_words, text_facts
from grpokit.receipts.facts import Fact, duration, points
from grpokit.receipts.marks import difference, measured, over_seeds, unpack
from grpokit.receipts.runs import hardware_of, packages_of
from grpokit.receipts.values import changes, digest, values_of

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.evaluate.run import Exam
    from grpokit.receipts.model import DataFact, Metric, Receipt, RewardFact, RunFact
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.plan import ComponentRecord

__all__ = ["verify"]

SHOWN = 4
TOLERANCE = 1e-9


def verify(receipt: Receipt, loaded: Loaded, catalog: Catalog) -> list[Fact]:
    """All that can be said without a model."""
    return [
        *_recipe(receipt, loaded),
        *_rewards(receipt, loaded, catalog),
        *_data(receipt, loaded, catalog),
        *_numbers(receipt),
        *_checks(receipt),
        *_edited(receipt),
        *_elsewhere(receipt, catalog),
    ]


def _recipe(receipt: Receipt, loaded: Loaded) -> Iterator[Fact]:
    recorded = receipt.recipe
    if digest(recorded.values) != recorded.hash:
        yield Fact(
            name="recipe hash",
            state="differs",
            text=f"the receipt's values do not have its hash {recorded.hash}",
            remedy="somebody changed the receipt: get the original, or make a new one",
        )
    else:
        yield Fact(name="recipe hash", state="recomputed", text=recorded.hash)
    found = changes(recorded.values, values_of(loaded), loaded.provenance)
    if found.changed:
        yield Fact(
            name="recipe",
            state="differs",
            text=_some(found.words),
            remedy="the receipt is of the former recipe: undo the change, or train and measure again",
        )
    else:
        text = f"{len(recorded.values)} values, defaults included"
        yield Fact(name="recipe", state="same", text=text)
    if found.new:
        keys = _some(list(found.new))
        text = f"came since, at their defaults: {keys}"
        yield Fact(name="new settings", state="noted", text=text)
    now = text_facts(loaded.sources)
    if [fact.hash for fact in recorded.texts] == [fact.hash for fact in now]:
        text = ", ".join(fact.name for fact in now)
        yield Fact(name="recipe files", state="same", text=text)
    else:
        known = {fact.hash for fact in recorded.texts}
        other = [fact.name for fact in now if fact.hash not in known]
        text = f"another text, which the values above judge: {_some(other) or 'fewer files'}"
        yield Fact(name="recipe files", state="noted", text=text)


def _rewards(receipt: Receipt, loaded: Loaded, catalog: Catalog) -> Iterator[Fact]:
    records, _ = component_records(loaded, catalog)
    recipe = loaded.recipe
    here = {record.role: record for record in records}
    for prefix, facts, sections in (
        ("reward ", receipt.rewards, recipe.rewards),
        ("eval reward ", receipt.eval_rewards, recipe.eval.rewards or []),
    ):
        weights = {reward_name(section): section.weight for section in sections}
        for fact in facts:
            yield _reward(fact, prefix, here.get(f"{prefix}{fact.name}"), weights)


def _reward(
    fact: RewardFact, prefix: str, here: ComponentRecord | None, weights: Mapping[str, float]
) -> Fact:
    name = f"{prefix}{fact.name}"
    if here is None or here.id != fact.id:
        return Fact(
            name=name,
            state="differs",
            text=f"the receipt has {fact.id}, the recipe {here.id if here else 'no such reward'}",
            remedy="the receipt is of another recipe",
        )
    if here.source_hash != fact.source:
        return Fact(
            name=name,
            state="differs",
            text=f"the source of {here.id} was {fact.source} ({fact.distribution} {fact.version}), "
            f"is {here.source_hash} ({here.distribution} {here.version})",
            remedy=f"pip install {fact.distribution}=={fact.version}, or train and measure again",
        )
    settings = dict(leaves(dict(here.settings)))
    used = {key: settings.get(key, "(none)") for key in fact.settings}
    if (used, weights[fact.name]) != (fact.settings, fact.weight):
        return Fact(
            name=name,
            state="differs",
            text=f"the receipt has it x {fact.weight:g} with {clip(json.dumps(fact.settings), 120)}",
            remedy="the recipe has another weight or other settings: train and measure again",
        )
    return Fact(
        name=name, state="same", text=f"{here.id} x {fact.weight:g}, source {here.source_hash}"
    )


def _data(receipt: Receipt, loaded: Loaded, catalog: Catalog) -> Iterator[Fact]:
    recipe = loaded.recipe

    def train() -> str:
        return open_dataset(catalog, recipe.dataset).fingerprint

    yield _opened("training data", receipt.train, train)
    try:
        exam = prepare(recipe, catalog)
    except GrpokitError as error:
        yield _closed("held-out data", receipt.eval, error)
        return
    yield _opened("held-out data", receipt.eval, lambda: str(exam.fingerprint["dataset"]))
    metric = receipt.metric
    yield _metric(metric, exam)
    if (len(exam.prompts), exam.fingerprint["items"]) == (metric.n, metric.items):
        yield Fact(name="questions", state="same", text=f"{metric.n}, in the same words")
    else:
        yield Fact(
            name="questions",
            state="differs",
            text=f"{metric.n} questions ({metric.items}) were asked, the recipe now asks "
            f"{len(exam.prompts)} ({exam.fingerprint['items']})",
            remedy="the data set or the prompt changed: evaluate again",
        )


def _metric(metric: Metric, exam: Exam) -> Fact:
    """What "right" means, and how answers are drawn."""
    text = f"{metric.reward} >= {metric.threshold:g}"
    told = (metric.reward, metric.threshold, metric.sampling)
    if told == (exam.decides, exam.threshold, sampling_words(exam.sampling)):
        return Fact(name="metric", state="same", text=text)
    return Fact(
        name="metric",
        state="differs",
        text=f"{text} by {metric.sampling}; the recipe says {exam.decides} >= {exam.threshold:g} "
        f"by {sampling_words(exam.sampling)}",
        remedy="the receipt is of another evaluation: evaluate again",
    )


def _opened(name: str, fact: DataFact, fingerprint: Callable[[], str]) -> Fact:
    try:
        found = fingerprint()
    except GrpokitError as error:
        return _closed(name, fact, error)
    if found == fact.fingerprint:
        return Fact(name=name, state="same", text=f"{fact.use}, fingerprint {found}")
    return Fact(
        name=name,
        state="differs",
        text=f"the rows of {fact.use} were {fact.fingerprint}, are {found}",
        remedy="get the rows that the receipt is of, or train and measure again",
    )


def _closed(name: str, fact: DataFact, error: GrpokitError) -> Fact:
    return Fact(
        name=name,
        state="not checked",
        text=f"{error.place or fact.use}: {error.fact}; nothing is downloaded for a check",
        remedy=error.remedy or "bring the data set to this machine first",
    )


def _numbers(receipt: Receipt) -> Iterator[Fact]:
    """Every number again, from the bits."""
    seeds = [run.seed for run in receipt.runs]
    if len(set(seeds)) < len(seeds):
        yield Fact(
            name="seeds",
            state="differs",
            text=f"one seed stands there twice: {', '.join(map(str, seeds))}",
            remedy="do not trust the receipt: its spread is not that of seeds",
        )
    for run in receipt.runs:
        yield _run_numbers(receipt, run)
    again = over_seeds(receipt.runs)
    if receipt.over_seeds is None and again is None:
        return
    if again is None or receipt.over_seeds is None or not _equal(again, receipt.over_seeds):
        yield Fact(
            name="over the seeds",
            state="differs",
            text="the means and the spread do not follow from the runs",
            remedy="do not trust the receipt: its raw data say something else",
        )
    else:
        text = f"{len(receipt.runs)} runs, mean {100 * again.trained:.1f}%, sd {100 * again.deviation:.1f} points"
        yield Fact(name="over the seeds", state="recomputed", text=text)


def _run_numbers(receipt: Receipt, run: RunFact) -> Fact:
    name, metric = f"numbers, seed {run.seed}", receipt.metric
    try:
        base, trained = (unpack(each.right, metric.n) for each in (run.base, run.trained))
    except ValueError as error:
        return Fact(
            name=name,
            state="differs",
            text=f"the raw answers are damaged: {error}",
            remedy="get the original receipt, or make a new one",
        )
    pairs: list[tuple[str, BaseModel, BaseModel]] = [
        ("base", measured(base, metric.level), run.base),
        ("trained", measured(trained, metric.level), run.trained),
        ("difference", difference(base, trained, metric.level), run.difference),
    ]
    steps = receipt.recipe.values.get("train.steps")
    if run.steps != steps:
        return Fact(
            name=name,
            state="differs",
            text=f"it has {run.steps} steps, the receipt's recipe {steps}",
            remedy="do not trust the receipt: its run is not of its recipe",
        )
    wrong = [what for what, again, told in pairs if not _equal(again, told)]
    if wrong:
        return Fact(
            name=name,
            state="differs",
            text=f"{', '.join(wrong)}: the raw answers give other numbers",
            remedy="do not trust the receipt: its raw data say something else",
        )
    low, high = run.difference.interval
    return Fact(
        name=name,
        state="recomputed",
        text=f"{100 * run.base.value:.1f}% -> {100 * run.trained.value:.1f}%, "
        f"{points(run.difference.value)} [{points(low)}, {points(high)}]: {claim(low, high)}",
    )


def _equal(one: BaseModel, other: BaseModel) -> bool:
    """The same up to the last digits of a float."""
    return _close(one.model_dump(), other.model_dump())


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return all(_close(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)
    return bool(one == other)


def _checks(receipt: Receipt) -> Iterator[Fact]:
    """What the reward check said before each run, once where all say the same."""
    seen: dict[str, list[int]] = {}
    for run in receipt.runs:
        check = run.reward_check
        if check.state == "checked":
            bad = _some(list(check.findings))
            text = f"{check.probes} probes; " + (f"found: {bad}" if bad else "nothing found")
        else:
            text = f"{check.state} before training: {check.reason or 'no reason given'}"
        seen.setdefault(text, []).append(run.seed)
    for text, seeds in seen.items():
        listed = f" (seeds {', '.join(map(str, seeds))})" if len(seen) > 1 else ""
        yield Fact(
            name="reward check",
            state="noted",
            text=text + listed,
            remedy=f"grpokit rewards check {receipt.recipe.name} repeats it",
        )


def _edited(receipt: Receipt) -> Iterator[Fact]:
    for run in receipt.runs:
        if run.edited:
            text = f"{', '.join(run.edited)} edited after the run; all it saved scored the same"
            yield Fact(name=f"edited, seed {run.seed}", state="noted", text=text)


def _elsewhere(receipt: Receipt, catalog: Catalog) -> Iterator[Fact]:
    """Versions and machine: what another result could come from, and no contradiction by itself."""
    plugins = {record.distribution: record.version for record in catalog.plugins}
    now = environment()
    versions, machine = {**packages_of(now), **plugins}, hardware_of(now)
    first = receipt.runs[0]
    for run in receipt.runs:
        seed = "" if run is first else f", seed {run.seed}"
        if run is first or run.packages != first.packages:
            recorded = {**run.packages, **receipt.plugins}
            yield _environment(f"versions{seed}", recorded, versions)
        if run is first or run.hardware != first.hardware:
            yield _environment(f"hardware{seed}", run.hardware, machine)
    yield Fact(
        name="model",
        state="not checked",
        text=f"{receipt.model.id}, weights {receipt.model.weights or 'without a hash'}",
        remedy="--eval loads it and asks the questions again",
    )
    yield Fact(
        name="training",
        state="not checked",
        text=f"{first.steps} steps, {duration(first.seconds)} there",
        remedy="--train repeats it",
    )


def _environment(name: str, recorded: Mapping[str, str], now: Mapping[str, str]) -> Fact:
    other = [
        f"{key} was {value}, is {now.get(key, 'not here')}"
        for key, value in recorded.items()
        if now.get(key) != value
    ]
    if not other:
        return Fact(
            name=name, state="same", text=", ".join(f"{k} {v}" for k, v in recorded.items())
        )
    return Fact(name=name, state="noted", text=_some(other))


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return "; ".join(words[:SHOWN]) + more
