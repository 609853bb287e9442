"""What the page says in words and tables: the run in short, findings, recipe, environment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from grpokit.diagnose.diagnosis import Finding
from grpokit.report.charts import COLOURS
from grpokit.report.markup import Html, join, table, tag
from grpokit.report.points import finite, short
from grpokit.report.reading import RunData, as_mapping, differing

__all__ = ["differences", "facts", "findings", "missing", "provenance", "section", "short_text"]

WORDS = {"stop": "reason to stop", "warn": "warning", "note": "note"}
LONG = 4000
"""Characters of a value in a table."""


def section(name: str, title: str, *parts: object) -> Html:
    return tag("section", tag("h2", title), *parts, id=name)


def short_text(value: object, limit: int = LONG) -> str:
    """A value of a recipe or a plan in a cell."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit} more characters)"


def facts(runs: Sequence[RunData], found: Sequence[Sequence[Finding] | None]) -> Html:
    """The run in tiles; several runs in the rows of a table."""
    told = [(*_tiles(run), *_doctor(listed or ())) for run, listed in zip(runs, found, strict=True)]
    if len(runs) == 1:
        tiles = [
            tag("div", tag("dt", name), tag("dd", value, tag("small", more) if more else ""))
            for name, value, more in told[0]
        ]
        return tag("dl", *tiles, class_="tiles")
    same = set(told[0]).intersection(*told[1:])
    names = list(dict.fromkeys(each[0] for tiles in told for each in tiles if each not in same))
    rows: list[list[object]] = []
    for place, (run, each) in enumerate(zip(runs, told, strict=True)):
        cells = {
            name: tag("span", value, tag("small", more, class_="block"), class_="nowrap")
            for name, value, more in each
        }
        label = "" if run.label == run.name else tag("small", run.name, class_="block")
        head = tag("span", _swatch(place), run.label, label, class_="nowrap")
        rows.append([head, *(cells.get(name, "") for name in names)])
    shared = "; ".join(f"{name} {value}" for name, value, _ in told[0] if (name, value, _) in same)
    note = tag("p", f"All runs: {shared}.", class_="note") if shared else ""
    return join([table(["run", *names], rows), note])


def _swatch(place: int) -> Html:
    return tag("i", class_=f"swatch c{place % COLOURS}")


def _tiles(run: RunData) -> list[tuple[str, str, str]]:
    listed, data = run.listed, run.listed.data
    last = run.rows[-1].values if run.rows else {}
    planned = "?" if listed.planned is None else f"{listed.planned}"
    found: list[tuple[str, str, str]] = [("steps", f"{listed.step} of {planned}", listed.state)]
    rewards = [row.values["reward"] for row in run.rows if "reward" in row.values]
    if rewards:
        first, end = fmean(rewards[:5]), fmean(rewards[-5:])
        found.append(("reward", f"{first:.3g} → {end:.3g}", "means of 5 steps"))
    found += _held_out(run)
    counted = (
        ("questions", "total/questions_seen"),
        ("completions", "total/completions_generated"),
        ("trained", "total/completions_trained"),
        ("forwards saved", "total/forwards_saved"),
        ("optimiser steps", "total/optimizer_steps"),
    )
    found += [(word, f"{last[name]:,.0f}", "") for word, name in counted if name in last]
    tokens = sum(row.values.get("tokens", 0.0) for row in run.rows)
    seconds = sum(times.get("total", 0.0) for times in run.seconds.values())
    if tokens:
        found.append(("tokens", f"{tokens:,.0f}", "generated"))
    if seconds:
        found.append(("time of steps", _duration(seconds), ""))
    for name in ("model", "algorithm", "backend"):
        value = as_mapping(data.get(name)).get("id" if name == "model" else "use")
        if value is not None:
            found.append((name, short_text(value, 60), ""))
    return found


def _doctor(found: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """The gravest of the findings, counted."""
    for severity, word in WORDS.items():
        count = sum(each.severity == severity for each in found)
        if count and severity != "note":
            words = word.replace("reason", "reasons") if severity == "stop" else f"{word}s"
            return [("grpokit doctor", f"{count} {word if count == 1 else words}", "see below")]
    return []


def _held_out(run: RunData) -> list[tuple[str, str, str]]:
    """The newest evaluation."""
    for data in reversed(list(run.evaluations.values())):
        models = data.get("models")
        listed = models if isinstance(models, list) else []
        shares = [finite(as_mapping(each).get("accuracy")) for each in listed]
        known = [f"{100 * share:.1f}%" for share in shares if share is not None]
        verdict = as_mapping(data.get("comparison")).get("verdict")
        if known:
            return [("held-out accuracy", " → ".join(known), short_text(verdict or "", 40))]
    return []


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def missing(runs: Sequence[RunData]) -> Html | str:
    """What could not be read, run by run."""
    listed = [(run.label, text) for run in runs for text in run.missing]
    if not listed:
        return ""
    several = len(runs) > 1
    items = [tag("li", f"{name}: {text}" if several else text) for name, text in listed]
    return tag("aside", tag("b", "Not in this page"), tag("ul", *items), class_="missing")


def findings(runs: Sequence[RunData], found: Sequence[Sequence[Finding] | None]) -> Html:
    """What ``grpokit doctor`` says; None where there were no numbers."""
    parts: list[object] = []
    for place, (run, listed) in enumerate(zip(runs, found, strict=True)):
        if len(runs) > 1:
            parts.append(tag("h3", _swatch(place), run.label))
        if not listed:
            words = "There are no steps to look at." if listed is None else _calm(run)
            parts.append(tag("p", words))
        parts += [_finding(each, place) for each in listed or ()]
    return section("diagnosis", "What grpokit doctor finds", *parts)


def _calm(run: RunData) -> str:
    few = " Most findings need 30 steps, so little can be said yet." if len(run.rows) < 30 else ""
    return f"Nothing is wrong in these numbers.{few}"


def _finding(found: Finding, place: int) -> Html:
    where = (
        f"steps {found.first} to {found.last}"
        if found.last > found.first
        else f"step {found.first}"
    )
    wasted = "" if found.wasted is None else f", {found.wasted:,} completions"
    subject = f" of {found.subject}" if found.subject else ""
    cost = [tag("dt", "cost"), tag("dd", f"{found.steps} steps{wasted}")]
    listed = [
        tag("dt", "measured"),
        tag("dd", f"{short(found.value)}, threshold {short(found.threshold)}"),
        *(cost if found.severity != "note" else ()),
        tag("dt", "remedy"),
        tag("dd", *_with_code(found.remedy)),
    ]
    see = tag(
        "button",
        "See the completions",
        type="button",
        class_="see",
        hidden=True,
        data_run=place,
        data_first=found.first,
        data_last=found.last,
    )
    return tag(
        "article",
        tag(
            "h4",
            tag("span", WORDS[found.severity], class_="badge"),
            f" {found.name}{subject}, {where}",
        ),
        tag("p", *_with_code(found.fact)),
        tag("dl", *listed),
        see,
        class_=f"finding is-{found.severity}",
    )


def _with_code(text: str) -> list[object]:
    """What stands between backticks is code."""
    return [tag("code", part) if n % 2 else part for n, part in enumerate(text.split("`"))]


def differences(runs: Sequence[RunData]) -> Html | str:
    """The keys of the recipes that are not the same everywhere."""
    if len(runs) < 2:
        return ""
    found = differing(runs)
    rows = [(key, *(short_text(value, 300) for value in values)) for key, values in found.items()]
    body = (
        table(["key", *(run.label for run in runs)], rows)
        if rows
        else tag("p", "These runs have the same recipe, value for value.")
    )
    return section("differences", "Where the recipes differ", body)


def provenance(runs: Sequence[RunData]) -> Html:
    """Recipe, components and environment of each run, folded away."""
    parts = [part for place, run in enumerate(runs) for part in _origin(run, place, len(runs) > 1)]
    return section("recipe", "Recipe and environment", *parts)


def _origin(run: RunData, place: int, several: bool) -> list[Html]:
    recipe = [(key, short_text(value)) for key, value in run.settings.items()]
    environment = as_mapping(run.plan.get("environment"))
    kept = [
        _fold("Resolved recipe", ("key", "value"), recipe),
        _fold(
            "Components",
            ("role", "component", "distribution", "version", "source", "settings"),
            _components(run.plan.get("components")),
        ),
        _fold(
            "Environment",
            ("", "version"),
            [(key, short_text(value)) for key, value in environment.items()],
        ),
        _fold(
            "What the plan said",
            ("level", "code", "key", "fact", "what to do"),
            _cells(run.plan.get("findings"), ("level", "code", "key", "fact", "remedy")),
        ),
        _fold("Resumed", ("when and how",), [(short_text(each),) for each in run.resumes]),
        _fold(
            "First failures of rewards",
            (">step", "reward", "plugin", "kind", ">row", "message"),
            _cells(run.failures, ("step", "reward", "plugin", "kind", "row", "message")),
        ),
    ]
    head = [tag("h3", _swatch(place), run.label)] if several else []
    date = time.strftime("%Y-%m-%d %H:%M", time.gmtime(run.listed.date))
    told = tag("p", f"Last written {date} UTC.") if run.listed.date else ""
    return [*head, *([told] if isinstance(told, Html) else []), *(each for each in kept if each)]


def _components(listed: object) -> list[Sequence[object]]:
    rows = _cells(listed, ("role", "id", "distribution", "version", "source_hash", "settings"))
    return [tuple("" if cell == "{}" else cell for cell in row) for row in rows]


def _cells(listed: object, keys: Sequence[str]) -> list[Sequence[object]]:
    """Rows of a list of objects; what is no object is left out."""
    items: Iterable[object] = listed if isinstance(listed, list | tuple) else ()
    rows: list[Mapping[str, Any]] = [each for each in items if isinstance(each, Mapping)]
    return [tuple(short_text(each.get(key, "")) for key in keys) for each in rows]


def _fold(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Html | None:
    if not rows:
        return None
    count = tag("small", f" {len(rows)}")
    return tag("details", tag("summary", title, count), table(heads, rows))
