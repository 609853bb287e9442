"""``grpokit algorithms``: what each algorithm is composed of, and which backend can run it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.algorithms.axes import AXES
from grpokit.cli import render
from grpokit.cli.plugins import component_data, show_settings
from grpokit.errors import ComponentError

if TYPE_CHECKING:
    from grpokit.algorithms.like import Conventions
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.registry.settings import Setting
    from grpokit.spec.components import AlgorithmSpec

app = typer.Typer(no_args_is_help=True, help="List algorithms and show what they are composed of.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_algorithms(
    parts: Annotated[bool, typer.Option("--parts", help="The parts, axis by axis.")] = False,
    as_json: Json = False,
) -> None:
    """List the named algorithms, or with --parts the parts that a recipe can put in their place."""
    catalog = _catalog()
    entries = [entry for entry in catalog.entries("algorithm") if bool(_spec(entry).axis) == parts]
    if parts:
        order = {axis: place for place, axis in enumerate(AXES)}
        entries.sort(key=lambda entry: order.get(_spec(entry).axis, len(order)))
    if as_json:
        render.print_json({"algorithms": [_data(catalog, entry) for entry in entries]})
        return
    if parts:
        render.table(
            ["axis", "part", "summary"],
            [(_spec(entry).axis, entry.id, entry.spec.summary) for entry in entries],
            styles={"part": "bold"},
        )
        return
    render.table(
        ["algorithm", "paper", "differs from grpo in", "summary"],
        [
            (entry.id, _spec(entry).paper or "-", _differs(catalog, entry), entry.spec.summary)
            for entry in entries
        ],
        styles={"algorithm": "bold"},
    )
    render.say("`grpokit algorithms list --parts` lists what `algorithm.parts` can replace.", "dim")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An algorithm or a part, by name or id.")],
    as_json: Json = False,
) -> None:
    """Show composition, formula, source, settings, and the backends that can run it."""
    catalog = _catalog()
    entries = catalog.matches("algorithm", name)
    if not entries:
        raise _unknown(catalog, name)
    if as_json:
        render.print_json({"algorithms": [_data(catalog, entry) for entry in entries]})
        return
    for number, entry in enumerate(entries):
        if number:
            render.say()
        _show(catalog, entry)


def _catalog() -> Catalog:
    from grpokit.registry.catalog import Catalog

    return Catalog.load()


def _spec(entry: Entry) -> AlgorithmSpec:
    from grpokit.spec.components import AlgorithmSpec

    assert isinstance(entry.spec, AlgorithmSpec)
    return entry.spec


def _show(catalog: Catalog, entry: Entry) -> None:
    spec = _spec(entry)
    data = _data(catalog, entry)
    render.say(f"{'part' if spec.axis else 'algorithm'} {entry.id}", "bold")
    render.say(f"  {spec.summary}")
    facts = {
        "axis": f"{spec.axis}: {AXES.get(spec.axis, '')}" if spec.axis else "",
        "formula": spec.formula,
        "paper": f"arXiv {spec.paper}" if spec.paper else "",
        "plugin": f"{entry.plugin.name} ({entry.plugin.distribution} {entry.plugin.version})",
        "needs": ", ".join(sorted(spec.needs)),
    }
    for label, value in facts.items():
        if value:
            render.say(f"  {label:<8}  {value}")
    for backend, missing in data["backends"].items():
        text = f"cannot run it: no {', '.join(missing)}" if missing else "can run it"
        render.say(f"  {'backend':<8}  {backend} {text}", "yellow" if missing else "")
    if spec.parts:
        render.table(
            ["axis", "part", "formula"],
            [
                (axis, ", ".join(names), _formulas(catalog, names))
                for axis, names in data["parts"].items()
            ],
            styles={"part": "bold"},
            limit=1000,
        )
    place = f"algorithm.parts.{spec.axis}.with" if spec.axis else "algorithm.with"
    show_settings(data, place)
    for word, table in data["like"].items():
        render.say(f"  like: {word:<5} {_selected(table, data['settings'])}", limit=1000)


def _data(catalog: Catalog, entry: Entry) -> dict[str, Any]:
    """What `plugins show` knows, and which backends lack what."""
    spec = _spec(entry)
    lacking = {
        backend.id: sorted(spec.needs - backend.spec.provides)
        for backend in catalog.entries("backend")
    }
    own = {"parts": dict(spec.parts), "backends": lacking, "like": _like(entry)}
    return component_data(entry) | own


def _like(entry: Entry) -> Conventions:
    from grpokit.algorithms.like import choices
    from grpokit.registry.resolve import config_model

    try:
        model = config_model(entry)
    except ComponentError:  # told where the settings are
        return {}
    return {} if model is None else choices(model)


def _selected(table: Mapping[str, Any] | str, settings: Sequence[Setting]) -> str:
    """The values that are not the defaults."""
    if not isinstance(table, Mapping):
        return f"not possible: {table}"
    usual = {item.name: item.default for item in settings}
    values = {name: json.dumps(value) for name, value in table.items()}
    other = [f"{name}: {text}" for name, text in values.items() if usual.get(name) != text]
    return ", ".join(other) or "the defaults"


def _formulas(catalog: Catalog, names: tuple[str, ...]) -> str:
    found = [match for name in names for match in catalog.matches("algorithm", name)]
    return "; ".join(
        spec.formula or spec.summary for spec in map(_spec, found) if spec.formula or spec.summary
    )


def _differs(catalog: Catalog, entry: Entry) -> str:
    """The parts that are not GRPO's."""
    usual = dict(_spec(catalog.find("algorithm", "grpo")).parts)
    own = _spec(entry).parts
    other = [f"{axis}: {', '.join(names)}" for axis, names in own if usual.get(axis) != names]
    return "; ".join(other) or "-"


def _unknown(catalog: Catalog, name: str) -> ComponentError:
    near = catalog.near("algorithm", name)
    return ComponentError(
        f"no algorithm and no part is named {name!r}",
        remedy="did you mean " + " or ".join(map(repr, near)) + "?"
        if near
        else "`grpokit algorithms list` and `grpokit algorithms list --parts` show them",
    )
