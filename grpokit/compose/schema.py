"""JSON Schema (2020-12) of recipes with the installed plugins, for completion in editors.

The names of the installed components are listed for each place, and what stands under ``with:``
depends on ``use:``. The check is ``grpokit recipes check``; the schema helps while typing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grpokit.errors import ComponentError
from grpokit.registry.catalog import FOREIGN_SCHEMES
from grpokit.registry.resolve import config_model
from grpokit.spec.components import AlgorithmSpec
from grpokit.spec.recipe import Recipe

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry

__all__ = ["modeline", "recipe_schema"]

Schema = dict[str, Any]


def modeline(path: str) -> str:
    """The first line of a recipe that tells an editor its schema."""
    return f"# yaml-language-server: $schema={path}"


def recipe_schema(catalog: Catalog) -> Schema:
    """The schema of a recipe. A recipe that extends another one may leave required keys out."""
    schema = Recipe.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    defs: Schema = schema["$defs"]
    builder = _Builder(catalog, defs)
    builder.section("DatasetSection", catalog.entries("dataset"))
    builder.section("RewardSection", catalog.entries("reward"))
    _allow_foreign(defs["RewardSection"]["properties"]["use"])
    builder.section("LenientSection", catalog.entries("reward"))
    _allow_foreign(defs["LenientSection"]["properties"]["use"])
    builder.section("BackendSection", catalog.entries("backend"))
    whole = [entry for entry in catalog.entries("algorithm") if not _axis(entry)]
    builder.section("AlgorithmSection", whole)
    defs["AlgorithmSection"]["properties"]["parts"] = builder.parts()
    defs["CallbackUse"] = json.loads(json.dumps(defs["Use"]))
    builder.section("CallbackUse", catalog.entries("callback"))
    schema["properties"]["callbacks"]["items"] = {"$ref": "#/$defs/CallbackUse"}
    builder.names("PromptSection", catalog.entries("prompt"))
    _allow_extends(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "grpokit recipe",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _axis(entry: Entry) -> str:
    return entry.spec.axis if isinstance(entry.spec, AlgorithmSpec) else ""


def _allow_foreign(use: Schema) -> None:
    """A reward is a component, or another trainer's: `trl:pkg.mod.fn`."""
    names = use.pop("enum")
    use["anyOf"] = [{"enum": names}, {"pattern": f"^({'|'.join(FOREIGN_SCHEMES)}):."}]


def _allow_extends(schema: Schema) -> None:
    """Required keys are required only of a recipe that extends nothing."""
    name = {"type": "string", "minLength": 1}
    schema["properties"] = {
        "grpokit": schema["properties"].pop("grpokit"),
        "extends": {
            "description": "Recipes to start from: a name, plugin/name, or a file. "
            "Later ones win, and this recipe wins last.",
            "anyOf": [name, {"type": "array", "items": name, "minItems": 1}],
        },
        **schema["properties"],
    }
    required = schema.pop("required")
    sections: Schema = {}
    for key, model in (("model", "ModelSection"), ("dataset", "DatasetSection")):
        sections[key] = {"required": schema["$defs"][model].pop("required")}
    schema["required"] = ["grpokit"]
    schema["if"] = {"not": {"required": ["extends"]}}
    schema["then"] = {"required": required, "properties": sections}


class _Builder:
    def __init__(self, catalog: Catalog, defs: Schema) -> None:
        self._catalog = catalog
        self._defs = defs

    def section(self, model: str, entries: Sequence[Entry]) -> None:
        """Lists the components in the section's ``use``, and ties ``with`` to it."""
        section = self._defs[model]
        default = section["properties"]["use"].get("default")
        names = self.names(model, entries)
        if entries:
            section["allOf"] = [
                self._condition(entry, names[entry.id], required=default not in names[entry.id])
                for entry in entries
            ]

    def names(self, model: str, entries: Sequence[Entry]) -> dict[str, list[str]]:
        """Lists the components in the section's ``use``, and returns what each may be called."""
        use = self._defs[model]["properties"]["use"]
        names = {entry.id: self._names(entry) for entry in entries}
        use["enum"] = [name for entry in entries for name in names[entry.id]]
        use["markdownDescription"] = "\n".join(
            [use.get("description", ""), *(f"* `{e.id}`: {e.spec.summary}" for e in entries)]
        )
        return names

    def parts(self) -> Schema:
        """``algorithm.parts``: for each axis the parts that fit it."""
        axes: dict[str, list[Entry]] = {}
        for entry in self._catalog.entries("algorithm"):
            if _axis(entry):
                axes.setdefault(_axis(entry), []).append(entry)
        properties: Schema = {}
        for axis, entries in axes.items():
            model = f"Part.{axis}"
            self._defs[model] = json.loads(json.dumps(self._defs["Use"]))
            self.section(model, entries)
            properties[axis] = {"$ref": f"#/$defs/{model}"}
        description = self._defs["AlgorithmSection"]["properties"]["parts"].get("description", "")
        return {
            "type": "object",
            "description": description,
            "properties": properties,
            "additionalProperties": False,
        }

    def _names(self, entry: Entry) -> list[str]:
        bare = entry.spec.name
        unique = [match.id for match in self._catalog.matches(entry.kind, bare)] == [entry.id]
        return list(dict.fromkeys([bare, entry.id] if unique else [entry.id]))

    def _condition(self, entry: Entry, names: list[str], *, required: bool) -> Schema:
        condition: Schema = {"properties": {"use": {"enum": names}}}
        if required:
            condition["required"] = ["use"]
        settings = self._settings(entry)
        then: Schema = {"properties": {"with": settings}}
        return {"if": condition, "then": then}

    def _settings(self, entry: Entry) -> Schema:
        try:
            model = config_model(entry)
        except ComponentError as error:
            return {"description": f"The settings cannot be read: {error.fact}"}
        if model is None:
            return {"maxProperties": 0, "description": f"`{entry.id}` has no settings."}
        prefix = f"{entry.kind}.{entry.id.replace('/', '.')}."
        schema = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{prefix}{{model}}")
        for name, inner in schema.pop("$defs", {}).items():
            self._defs[prefix + name] = inner
        # Inherited settings may complete these, so nothing is required while typing.
        schema.pop("required", None)
        self._defs[prefix + "with"] = schema
        return {"$ref": f"#/$defs/{prefix}with"}
