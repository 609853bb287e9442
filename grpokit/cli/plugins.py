"""``grpokit plugins``: what is installed, what is broken and why, and what each component takes.

Writing and checking a plugin (``new`` and ``check``) stand in ``plugins_make``.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.plugins_make import CHECK, NEW, check, new
from grpokit.errors import ComponentError
from grpokit.registry.builtin import CORE
from grpokit.spec.components import KINDS, PromptSpec

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.registry.record import PluginRecord
    from grpokit.registry.settings import Setting

app = typer.Typer(
    no_args_is_help=True, help="List and show installed plugins; write and check one of your own."
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Kind = Annotated[
    str | None, typer.Option(metavar="KIND", help=f"Only components of a kind: {', '.join(KINDS)}.")
]


@app.command("list")
def list_plugins(kind: Kind = None, as_json: Json = False) -> None:
    """List the installed plugins, or with --kind the components of one kind."""
    catalog = _catalog()
    if kind is not None:
        _list_components(catalog, _known_kind(kind), as_json=as_json)
        return
    if as_json:
        render.print_json(
            {"plugins": [_plugin_data(catalog, plugin) for plugin in catalog.plugins]}
        )
        return
    rows = [
        (plugin.name, plugin.version, plugin.state, _components_text(catalog, plugin))
        for plugin in catalog.plugins
    ]
    render.table(
        ["plugin", "version", "state", "components"],
        rows,
        styles={"plugin": "bold"},
        limit=render.LIMIT,
    )
    for plugin in catalog.plugins:
        if not plugin.loaded:
            render.say(f"{plugin.name} is {plugin.state}: {plugin.reason}", "yellow", limit=2000)
    if any(plugin.trace for plugin in catalog.plugins):
        render.say("`grpokit plugins show NAME` prints the traceback.", "dim")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A plugin, or a component by name or id.")],
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Show a plugin, or a component with its settings."""
    catalog = _catalog()
    plugins = [] if kind else [record for record in catalog.plugins if record.name == name]
    kinds = [_known_kind(kind)] if kind else KINDS
    entries = [entry for each in kinds for entry in catalog.matches(each, name)]
    if not plugins and not entries:
        raise _unknown(catalog, name)
    if as_json:
        render.print_json(
            {
                "plugins": [
                    _plugin_data(catalog, plugin) | {"trace": plugin.trace} for plugin in plugins
                ],
                "components": [component_data(entry) for entry in entries],
            }
        )
        return
    for number, plugin in enumerate(plugins):
        _show_plugin(catalog, plugin, first=number == 0)
    for number, entry in enumerate(entries):
        _show_component(entry, first=number == 0 and not plugins)


app.command("new", help=NEW)(new)
app.command("check", help=CHECK)(check)


def _catalog() -> Catalog:
    from grpokit.registry.catalog import Catalog

    return Catalog.load()


def _known_kind(kind: str) -> str:
    if kind in KINDS:
        return kind
    near = difflib.get_close_matches(kind, KINDS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise typer.BadParameter(f"{hint}The kinds are {', '.join(KINDS)}.", param_hint="--kind")


def _list_components(catalog: Catalog, kind: str, *, as_json: bool) -> None:
    entries = catalog.entries(kind)
    if as_json:
        render.print_json(
            {
                "components": [
                    {"id": entry.id, "kind": kind, "plugin": entry.plugin.name}
                    | {"summary": entry.spec.summary}
                    for entry in entries
                ]
            }
        )
        return
    rows = [(entry.id, entry.plugin.name, entry.spec.summary) for entry in entries]
    render.table([kind, "plugin", "summary"], rows, styles={kind: "bold"})


def _recipe_names(catalog: Catalog, plugin: PluginRecord) -> list[str]:
    stems = sorted(
        item.name.rpartition(".")[0]
        for name, folder in catalog.recipe_folders()
        if name == plugin.name
        for item in folder.iterdir()
        if item.name.endswith((".yaml", ".yml"))
    )
    return [stem if plugin.name == CORE else f"{plugin.name}/{stem}" for stem in stems]


def _components(catalog: Catalog, plugin: PluginRecord) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in catalog.entries():
        if entry.plugin is plugin:
            found.setdefault(entry.kind, []).append(entry.id)
    recipes = _recipe_names(catalog, plugin)
    return found | ({"recipe": recipes} if recipes else {})


def _components_text(catalog: Catalog, plugin: PluginRecord) -> str:
    found = _components(catalog, plugin)
    return "; ".join(f"{kind}: {', '.join(ids)}" for kind, ids in found.items()) or "-"


def _plugin_data(catalog: Catalog, plugin: PluginRecord) -> dict[str, Any]:
    keys = ("name", "distribution", "version", "module", "state", "reason")
    return {key: getattr(plugin, key) for key in keys} | {
        "components": _components(catalog, plugin)
    }


def component_data(entry: Entry) -> dict[str, Any]:
    from grpokit.registry.resolve import source_hash

    settings, problem = _settings(entry)
    return {
        "id": entry.id,
        "kind": entry.kind,
        "plugin": entry.plugin.name,
        "distribution": entry.plugin.distribution,
        "version": entry.plugin.version,
        "source_hash": source_hash(entry),
        **{field.name: getattr(entry.spec, field.name) for field in dataclasses.fields(entry.spec)},
        "settings": settings,
        "settings_problem": problem,
    }


def _settings(entry: Entry) -> tuple[Sequence[Setting], str]:
    """The settings, or why they cannot be read: a broken config must not hide the rest."""
    from grpokit.registry.resolve import config_model
    from grpokit.registry.settings import describe

    try:
        model = config_model(entry)
    except ComponentError as error:
        return (), str(error)
    return ((), "") if model is None else (describe(model), "")


def _facts(rows: Iterable[tuple[str, object]]) -> None:
    for label, value in rows:
        render.say(f"  {label:<13}  {value}".rstrip())


def _show_plugin(catalog: Catalog, plugin: PluginRecord, *, first: bool) -> None:
    if not first:
        render.say()
    render.say(f"plugin {plugin.name}", "bold")
    _facts(
        [
            ("distribution", f"{plugin.distribution} {plugin.version}"),
            ("module", plugin.module),
            ("state", plugin.state),
            *([("reason", plugin.reason)] if plugin.reason else []),
            *((kind, ", ".join(ids)) for kind, ids in _components(catalog, plugin).items()),
        ]
    )
    if plugin.trace:
        render.say("\n" + plugin.trace.rstrip(), limit=20_000)


def _show_component(entry: Entry, *, first: bool) -> None:
    data = component_data(entry)
    if not first:
        render.say()
    render.say(f"{entry.kind} {entry.id}", "bold")
    render.say(f"  {entry.spec.summary}")
    _facts(
        [
            ("plugin", f"{entry.plugin.name} ({entry.plugin.distribution} {entry.plugin.version})"),
            *([("target", entry.spec.target)] if entry.spec.target else []),
            ("source hash", data["source_hash"]),
            *(
                (key, text)
                for key in data
                if key not in _SHOWN and (text := _value_text(data[key]))
            ),
        ]
    )
    if isinstance(entry.spec, PromptSpec):
        _show_prompt(entry.spec)
    else:
        show_settings(data, "with")


def _show_prompt(spec: PromptSpec) -> None:
    """Its messages, as a recipe writes them: columns in braces, braces doubled."""
    turns = [("system", spec.system)] if spec.system else []
    for question, answer in spec.examples:
        turns += [("example", question), ("its answer", answer)]
    for label, text in (*turns, ("user", spec.user)):
        render.say(f"  {label}:")
        for line in text.split("\n"):
            render.say(f"    {line}".rstrip(), limit=4000)


def show_settings(data: Mapping[str, Any], place: str) -> None:
    """The table of settings of ``component_data``; ``place`` is where a recipe has them."""
    if data["settings_problem"]:
        render.say(f"  settings cannot be read: {data['settings_problem']}", "yellow")
    elif not data["settings"]:
        render.say("  It has no settings.")
    else:
        render.say(f"  Settings, under `{place}:`")
        rows = [
            (item.name, item.type, "required" if item.required else item.default, item.doc)
            for item in data["settings"]
        ]
        render.table(
            ["setting", "type", "default", "meaning"], rows, styles={"setting": "bold"}, limit=1000
        )


_SHOWN = frozenset(
    [
        "id",
        "kind",
        "plugin",
        "distribution",
        "version",
        "source_hash",
        "name",
        "summary",
        "target",
        "settings",
        "settings_problem",
        "user",
        "system",
        "examples",
    ]
)


def _value_text(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value in (None, 0) else str(value)


def _unknown(catalog: Catalog, name: str) -> ComponentError:
    known = [plugin.name for plugin in catalog.plugins]
    known += [each for entry in catalog.entries() for each in (entry.id, entry.spec.name)]
    near = list(dict.fromkeys(difflib.get_close_matches(name, known, n=3)))
    remedy = "`grpokit plugins list` shows what is installed"
    if near:
        remedy = "did you mean " + " or ".join(map(repr, near)) + "?"
    return ComponentError(f"no plugin and no component is named {name!r}", remedy=remedy)
