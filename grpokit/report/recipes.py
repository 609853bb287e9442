"""Which runs are seeds of one recipe, and in what the others differ: keys, sources, versions, machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpokit.compose.diff import MISSING, leaves
from grpokit.compose.experiment import as_values, trains, values_of_run
from grpokit.diagnose.rows import json_lines
from grpokit.report.series import RunSeries
from grpokit.spec.recipe import Recipe

__all__ = ["Labelled", "Varying", "changed_rewards", "labelled", "notes", "varying"]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A run with its name in the comparison: ``A`` for the only run of a recipe, ``A2`` for one of its seeds."""

    label: str
    group: str
    run: RunSeries
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Varying:
    """One thing in which runs differ: each value, with the labels of the runs that have it."""

    what: str
    kind: str
    values: tuple[tuple[tuple[str, ...], Any], ...]


def labelled(runs: Sequence[RunSeries]) -> list[Labelled]:
    """The runs in their order, those grouped that differ in the seed only.

    Seeds of one recipe have the same values of all keys that training depends on, the same data, and
    components of the same source.
    """
    values = _values(runs)
    keys: dict[str, list[int]] = {}
    for place, (run, each) in enumerate(zip(runs, values, strict=True)):
        keys.setdefault(_experiment(run, each), []).append(place)
    names = {}
    for number, places in enumerate(keys.values()):
        letter = _letters(number)
        for seed, place in enumerate(places, 1):
            names[place] = (letter, f"{letter}{seed}" if len(places) > 1 else letter)
    return [
        Labelled(group=names[place][0], label=names[place][1], run=run, values=each)
        for place, (run, each) in enumerate(zip(runs, values, strict=True))
    ]


def _letters(number: int) -> str:
    """A to Z, AA, AB ..."""
    found = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        found = chr(ord("A") + rest) + found
    return found


def _values(runs: Sequence[RunSeries]) -> list[dict[str, Any]]:
    """Recipes as dotted keys, with the components' defaults where every plan tells them."""
    try:
        return [values_of_run(_recipe(run), run.plan) for run in runs]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return [as_values(run.listed.data) for run in runs]


def _recipe(run: RunSeries) -> Recipe:
    return Recipe.model_validate_json(json.dumps(run.listed.data, default=str))


def _experiment(run: RunSeries, values: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in values.items() if trains(key)}
    sources = {role: (each.get("id"), each.get("version"), each.get("source_hash"))
               for role, each in _components(run).items() if not role.startswith("eval")}  # fmt: skip
    data = run.plan.get("dataset_fingerprint")
    alone = "" if kept else str(run.listed.path)  # nobody knows its recipe
    return json.dumps([kept, sources, data, alone], sort_keys=True, default=str)


def _components(run: RunSeries) -> dict[str, Mapping[str, Any]]:
    found = run.plan.get("components")
    listed = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return {str(each.get("role")): each for each in listed}


def varying(runs: Sequence[Labelled]) -> list[Varying]:
    """Everything in which runs differ, what matters most first.

    Sources and versions of components, training data, keys of the recipe, packages and hardware.
    """
    roles = dict.fromkeys(role for each in runs for role in _components(each.run))
    found = [
        _varies(runs, f"{what} of {role}", "component", _component(role, key))
        for role in roles
        for what, key in (("source", "source_hash"), ("version", "version"))
    ]
    found.append(
        _varies(runs, "training data", "data", lambda e: e.run.plan.get("dataset_fingerprint"))
    )
    keys = dict.fromkeys(key for each in runs for key in each.values)
    found += [_varies(runs, key, "recipe", _value(key)) for key in keys if not _newer(runs, key)]
    names = dict.fromkeys(name for each in runs for name in _environment(each.run))
    found += [_varies(runs, name, "environment", _place(name)) for name in names]
    return [each for each in found if each is not None]


def _newer(runs: Sequence[Labelled], key: str) -> bool:
    """A setting of a component that came with a later version, at the default that nobody wrote."""
    known = [each for each in runs if key in each.values]
    if len(known) == len(runs) or ".with." not in key:
        return False
    written = any(key in dict(leaves(each.run.listed.data)) for each in known)
    return not written and all(each.values[key] == known[0].values[key] for each in known)


def _component(role: str, key: str) -> Callable[[Labelled], Any]:
    """A component that a run does not have is a difference of the recipe, and told there."""
    return lambda each: _components(each.run).get(role, {}).get(key)


def _value(key: str) -> Callable[[Labelled], Any]:
    return lambda each: each.values.get(key, MISSING)


def _place(name: str) -> Callable[[Labelled], Any]:
    return lambda each: _environment(each.run).get(name, MISSING)


def _environment(run: RunSeries) -> Mapping[str, Any]:
    found = run.plan.get("environment")
    return found if isinstance(found, dict) else {}


def _varies(
    runs: Sequence[Labelled], what: str, kind: str, value: Callable[[Labelled], Any]
) -> Varying | None:
    """None where all that have a value have the same."""
    by_value: dict[str, tuple[list[Labelled], Any]] = {}
    for each in runs:
        found = value(each)
        if found is not None or kind == "recipe":
            key = json.dumps(found, sort_keys=True, default=str)
            by_value.setdefault(key, ([], found))[0].append(each)
    if len(by_value) < 2:
        return None
    values = tuple((_short(owners, runs), each) for owners, each in by_value.values())
    return Varying(what=what, kind=kind, values=values)


def _short(owners: Sequence[Labelled], runs: Sequence[Labelled]) -> tuple[str, ...]:
    """Labels, with the letter of the recipe where all its seeds are among them."""
    found: list[str] = []
    for each in owners:
        whole = [other.label for other in runs if other.group == each.group]
        name = each.group if all(o in [x.label for x in owners] for o in whole) else each.label
        if name not in found:
            found.append(name)
    return tuple(found)


def changed_rewards(differences: Sequence[Varying]) -> list[Varying]:
    """Rewards of one name whose source is not the same: their scores may not be on one scale."""
    return [each for each in differences if each.what.startswith("source of reward ")]


def notes(each: Labelled) -> list[str]:
    """What a reader must know of a single run: damage, a resume that was forced, an end that is missing."""
    run, found = each.run, []
    if run.damaged:
        lines = "1 damaged line" if run.damaged == 1 else f"{run.damaged} damaged lines"
        found.append(f"{lines} left out: sums of completions, tokens and seconds are too small")
    if run.listed.state == "running":
        found.append("still running: read as it stands")
    if run.listed.state == "broken":
        found.append("recipe.yaml cannot be read")
    if not run.steps:
        found.append("no step yet")
    try:
        data = (run.listed.path / "resumes.jsonl").read_bytes()
    except OSError:
        return found
    for _, row in json_lines(data.split(b"\n")):
        forced = row.get("forced") if isinstance(row, dict) else None
        if isinstance(forced, list):
            found += [f"resumed by force with a change: {line}" for line in forced]
    return found
