"""An installed plugin, looked at: its registration, its settings, its recipes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from grpokit.scaffold.execute import check_cases
from grpokit.scaffold.findings import Check, errors
from grpokit.scaffold.imports import check_imports
from grpokit.scaffold.metadata import check_metadata

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.registry.record import PluginRecord
    from grpokit.spec.components import RewardSpec

__all__ = ["check_installed"]

LISTED = 6
"""Components that are named one by one."""


def check_installed(catalog: Catalog, name: str) -> list[Check]:
    """Everything that can be said about an installed plugin without a model."""
    records = [record for record in catalog.plugins if record.name == name]
    if not records:
        installed = ", ".join(record.name for record in catalog.plugins)
        return [
            Check("loaded", errors([f"no plugin {name!r} is installed; installed: {installed}"]))
        ]
    loaded = _loaded(catalog, records)
    if loaded.state == "error":
        return [loaded]
    record = records[0]
    components = _components(catalog, record)
    broken = components.state == "error"
    cases = Check("cases", note="see components", skipped=True)
    return [
        loaded,
        components,
        cases if broken else check_cases(catalog, record),
        _recipes(catalog, record),
        check_imports(record),
        check_metadata(record),
    ]


def _loaded(catalog: Catalog, records: Sequence[PluginRecord]) -> Check:
    bad = [
        f"the plugin is {record.state}: {record.reason}\n{record.trace}".rstrip()
        for record in records
        if not record.loaded
    ]
    if not bad and not records[0].specs and not records[0].recipes:
        bad = ["it registers nothing"]
    entries = [entry for entry in catalog.entries() if entry.plugin is records[0]]
    note = ", ".join(f"{entry.kind} {entry.id}" for entry in entries) or "recipes alone"
    if len(entries) > LISTED:
        kinds = Counter(entry.kind for entry in entries)
        note = ", ".join(f"{count} of the kind {kind}" for kind, count in kinds.items())
    return Check("loaded", errors(bad), note=note)


def _components(catalog: Catalog, record: PluginRecord) -> Check:
    entries = [entry for entry in catalog.entries() if entry.plugin is record]
    if not entries:
        return Check("components", note="it has none", skipped=True)
    found = [f"{entry.kind} {entry.id}: {text}" for entry in entries for text in _spec(entry)]
    return Check("components", errors(found), note=f"{len(entries)}, with their settings")


def _spec(entry: Entry) -> Iterator[str]:
    from grpokit.errors import ComponentError
    from grpokit.registry.resolve import config_model, resolve
    from grpokit.registry.settings import describe
    from grpokit.spec.components import RewardSpec

    spec = entry.spec
    if not spec.summary.strip():
        yield "the summary is empty"
    more = (getattr(spec, name, "") for name in ("preflight", "answer", "confidence"))
    for target in filter(None, (spec.target, *more)):
        try:
            found = resolve(target, entry)
        except ComponentError as error:
            yield error.fact  # its remedy is for users of the plugin
            continue
        if entry.kind != "command" and not callable(found):
            yield f"{target} cannot be called"
        elif isinstance(spec, RewardSpec) and not spec.config and target == spec.target:
            yield from _signature(found, spec)
    try:
        model = config_model(entry)
    except ComponentError as error:
        yield error.fact
        return
    settings = describe(model) if model is not None else ()
    known = {setting.name for setting in settings}
    for name in (name for name, _ in getattr(spec, "lenient", ()) if name not in known):
        yield f"lenient names {name!r}, and there is no such setting"
    for setting in settings:
        if not setting.doc:
            yield f"the setting {setting.name!r} has no docstring; `plugins show` would show nothing"


def _signature(function: Callable[..., Any], spec: RewardSpec) -> Iterator[str]:
    from grpokit.errors import ComponentError
    from grpokit.scoring.signature import ask

    try:
        asked = ask(function, spec.needs)
    except ComponentError as error:
        yield str(error)
        return
    unused = set(spec.columns) - {*asked.required, *asked.optional}
    if unused and not asked.everything and asked.form == "row":
        yield f"columns names {sorted(unused)}, and the function has no such parameter"


def _recipes(catalog: Catalog, record: PluginRecord) -> Check:
    from grpokit.compose.load import load_recipe
    from grpokit.errors import GrpokitError, RecipeError

    found: list[str] = []
    names = [
        item.name
        for folder in record.recipes
        for item in folder.iterdir()
        if item.name.endswith((".yaml", ".yml"))
    ]
    for name in names:
        try:
            load_recipe(f"{record.name}/{name.rpartition('.')[0]}", catalog=catalog)
        except GrpokitError as error:
            lines = error.problems if isinstance(error, RecipeError) else ()
            found.append("\n".join([f"recipe {name}: {error}", *lines]))
    return Check("recipes", errors(found), note=", ".join(sorted(names)), skipped=not names)
