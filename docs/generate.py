"""Writes docs/reference from the code: ``python docs/generate.py [--check]``.

Every page is made from docstrings, field descriptions and tables that the program itself uses.
``--check`` writes nothing and fails if a page is not what the code says; a test runs it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from grpokit import hooks
from grpokit.engine.metrics import METRICS
from grpokit.errors import ExitCode
from grpokit.spec.capabilities import CAPABILITIES
from grpokit.spec.recipe import Recipe

FOLDER = Path(__file__).parent / "reference"
EXIT_CODES = {
    ExitCode.OK: "everything asked for was done",
    ExitCode.BUG: "an error in grpokit or a plugin; the message names a file with the details",
    ExitCode.USAGE: "the command line or the recipe is wrong; every problem is listed",
    ExitCode.PREFLIGHT: "the recipe is right, but this machine, model, data set or plugin cannot run it",
    ExitCode.REWARD: "rewards failed beyond the error budget; a checkpoint was saved",
    ExitCode.NON_FINITE: "loss, gradient or weights are not finite; the last good checkpoint stands",
    ExitCode.STORAGE: "a checkpoint cannot be written, or none is whole",
    ExitCode.OUT_OF_MEMORY: "a step does not fit, also with a smaller micro-batch",
    ExitCode.SIGINT: "stopped by Ctrl-C; a checkpoint was saved and the resume command printed",
    ExitCode.SIGTERM: "stopped by SIGTERM; likewise",
}


def pages() -> dict[str, str]:
    """File name -> content of every generated page."""
    return {
        "exit-codes.md": exit_codes(),
        "hooks.md": hook_page(),
        "metrics.md": metric_page(),
        "recipe.md": recipe_page(),
        "diagnostics.md": diagnostic_page(),
        "components.md": component_page(),
        "commands.md": command_page(),
    }


def exit_codes() -> str:
    rows = "\n".join(f"| {code.value} | {code.name} | {EXIT_CODES[code]} |" for code in ExitCode)
    return f"# Exit codes\n\n| code | name | meaning |\n|---|---|---|\n{rows}\n"


def hook_page() -> str:
    parts = ["# Hooks\n", (inspect.getdoc(hooks) or "") + "\n"]
    for name in hooks.HOOK_NAMES:
        function = getattr(hooks, name)
        signature = str(inspect.signature(function)).replace("'", "")
        parts.append(f"## `{name}{signature}`\n\n{inspect.getdoc(function)}\n")
    parts.append("## Capabilities\n\nWhat a component may need and a backend may provide.\n")
    parts.append("\n".join(f"- `{name}`: {text}" for name, text in CAPABILITIES.items()) + "\n")
    return "\n".join(parts)


def metric_page() -> str:
    rows = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in METRICS.items())
    return (
        "# Metrics\n\nOne line a step in `metrics.jsonl`; `seconds` holds the wall time of each "
        f"stage.\n\n| name | meaning |\n|---|---|\n{rows}\n"
    )


def recipe_page() -> str:
    parts = ["# Recipe fields\n", "Types and defaults as the program checks them.\n"]
    parts += list(_model(Recipe, "recipe", set()))
    return "\n".join(parts)


def _model(model: type[BaseModel], title: str, seen: set[type]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    yield f"## `{title}`\n\n{inspect.getdoc(model) or ''}\n"
    yield field_table(model)
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            prefix = "" if title == "recipe" else f"{title}."
            yield from _model(inner, f"{prefix}{field.alias or name}", seen)


def field_table(model: type[BaseModel]) -> str:
    """The fields of a configuration model as a table."""
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        text = (field.description or "").replace("|", "\\|").replace("\n", " ")
        rows.append(f"| `{field.alias or name}` | {_type(field)} | {_default(field)} | {text} |")
    return "\n".join(rows) + "\n"


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _type(field: FieldInfo) -> str:
    annotation = field.annotation
    text = annotation.__name__ if inspect.isclass(annotation) else str(annotation)
    text = re.sub(r"[A-Za-z_]+\.", "", text.replace("NoneType", "null").replace("None", "null"))
    limits = " ".join(str(item) for item in field.metadata if "(" in str(item))
    return f"`{text}`".replace("|", "\\|") + (f" {limits}" if limits else "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    return f"`{'null' if value is None else value}`".replace("|", "\\|")


def diagnostic_page() -> str:
    from grpokit.compose.diagnostics import CODES

    rows = "\n".join(f"| {code} | {meaning} |" for code, meaning in sorted(CODES.items()))
    return (
        "# Diagnostics\n\nEvery problem of a recipe is reported at once as "
        "`file:line:col: CODE what is wrong; what is allowed; what to do`.\n\n"
        f"| code | meaning |\n|---|---|\n{rows}\n"
    )


def component_page() -> str:
    from grpokit.registry.catalog import Catalog
    from grpokit.registry.resolve import config_model

    catalog = Catalog.load({"GRPOKIT_PLUGINS": "hf"})
    parts = ["# Components\n", "What grpokit and `grpokit-hf` bring.\n"]
    for entry in catalog.entries():
        parts.append(f"## {entry.kind} `{entry.id}`\n\n{entry.spec.summary}\n")
        model = config_model(entry)
        if model is not None:
            parts.append(field_table(model))
    return "\n".join(parts)


def command_page() -> str:
    from docs_commands import command_help

    return "# Commands\n\n" + command_help()


def main() -> int:
    check = "--check" in sys.argv[1:]
    FOLDER.mkdir(exist_ok=True)
    stale = []
    for name, content in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            stale.append(name)
            if not check:
                path.write_text(content, encoding="utf-8")
    if stale:
        print(("out of date: " if check else "written: ") + ", ".join(stale))
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
