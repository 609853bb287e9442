"""``grpokit models``: catalogued models, where their weights come from, and whether they are here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.errors import ComponentError
from grpokit.registry import models
from grpokit.spec.components import ModelSpec

if TYPE_CHECKING:
    from grpokit.registry.catalog import Entry

app = typer.Typer(no_args_is_help=True, help="List, bring and show catalogued models.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="Name or id of a catalogued model.")]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the catalogued models and say which are on this machine."""
    from grpokit.registry.catalog import Catalog

    entries = Catalog.load().entries("model")
    if as_json:
        render.print_json({"models": [_data(entry) for entry in entries]})
        return
    if not entries:
        render.say("No plugin catalogues a model. The plugin grpokit-hf does.")
        return
    rows = [
        (
            entry.spec.name,
            _parameters(_spec(entry).parameters),
            _spec(entry).license,
            "yes" if models.ready(entry) else "no",
            entry.spec.summary,
        )
        for entry in entries
    ]
    render.table(
        ["model", ">weights", "license", "here", "summary"], rows, styles={"model": "bold"}
    )
    render.say("`model.id` also takes a local folder or a hub id such as `org/name`.", "dim")


@app.command()
def pull(name: Name, as_json: Json = False) -> None:
    """Bring a catalogued model: download, verify, convert. Does nothing if it is here and whole."""
    entry = _find(name)
    folder = models.bring(entry, say=render.warn)
    if as_json:
        render.print_json(_data(entry))
        return
    render.say(f"{entry.id} is in {folder} ({_megabytes(_bytes(folder))}, every hash is right).")


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show where a catalogued model comes from, and whether what is here is whole."""
    entry = _find(name)
    folder = models.place_of(entry)
    wrong = models.verify(folder) if folder.exists() else ()
    if as_json:
        render.print_json(_data(entry) | {"damage": list(wrong)})
        return
    spec = _spec(entry)
    here = "no" if not folder.exists() else "damaged" if wrong else "yes, every hash is right"
    rows = [
        ("id", entry.id),
        ("summary", spec.summary),
        ("weights", f"{spec.parameters:,}".replace(",", " ")),
        ("source", spec.source),
        ("license", spec.license),
        ("plugin", f"{entry.plugin.distribution} {entry.plugin.version}"),
        ("folder", str(folder)),
        ("here", here),
    ]
    for label, value in rows:
        render.say(f"{label:<9}{render.safe(value, one_line=True)}")
    for line in wrong:
        render.warn(f"{line}", "yellow")
    if not folder.exists() or wrong:
        render.say(f"`grpokit models pull {spec.name}` brings it.", "dim")


def _find(name: str) -> Entry:
    """The catalogued model, or an error that says what else a name may be."""
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load()
    entry = models.find(name, catalog)
    if entry is not None:
        return entry
    if Path(name).expanduser().is_dir():
        raise ComponentError(
            f"{name!r} is a local folder; it needs no pull",
            remedy="use it as model.id",
        )
    if "/" in name and not name.startswith((".", "/", "~")):
        raise ComponentError(
            f"{name!r} is not catalogued",
            remedy=f"if it is a hub id, `hf download {name}` brings it",
        )
    return catalog.find("model", name)


def _spec(entry: Entry) -> ModelSpec:
    if not isinstance(entry.spec, ModelSpec):
        raise TypeError(f"{entry.id} is a {entry.kind}, not a model")
    return entry.spec


def _data(entry: Entry) -> dict[str, Any]:
    spec, folder = _spec(entry), models.ready(entry)
    return {
        "id": entry.id,
        "name": spec.name,
        "summary": spec.summary,
        "parameters": spec.parameters,
        "size": spec.size,
        "source": spec.source,
        "license": spec.license,
        "plugin": entry.plugin.name,
        "folder": str(models.place_of(entry)),
        "ready": folder is not None,
    }


def _parameters(count: int) -> str:
    if count < 1e6:
        return f"{count / 1e3:.0f}k"
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
