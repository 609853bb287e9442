"""``grpokit recipes``: list, show, check, compare, receipts; the JSON Schema for editors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards
from grpokit.cli.recipes_receipt import app as receipts
from grpokit.errors import ExitCode, PreflightError, RecipeError

if TYPE_CHECKING:
    from grpokit.compose.diagnostics import Diagnostic
    from grpokit.compose.library import Found
    from grpokit.compose.load import Loaded
    from grpokit.receipts.model import Receipt
    from grpokit.registry.catalog import Catalog

app = typer.Typer(
    no_args_is_help=True,
    help="List, show, check and compare recipes; what they were measured to do.",
)

app.add_typer(receipts)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace one value; may be repeated."),
]
Name = Annotated[str, typer.Argument(help="A recipe file, or a name (`grpokit recipes list`).")]


def _catalog(*, foreign: bool = False) -> Catalog:
    from grpokit.registry.catalog import Catalog

    return Catalog.load(foreign_rewards=foreign)


@app.command("list")
def list_recipes(as_json: Json = False) -> None:
    """List the recipes of grpokit and of the installed plugins."""
    from grpokit.compose.library import Library

    rows = [
        {
            "name": found.name,
            "summary": _summary(found),
            "plugin": found.plugin,
            "file": found.file,
            "receipt": _receipt_in_short(found),
        }
        for found in Library(_catalog(), Path.cwd()).named.values()
    ]
    if as_json:
        render.print_json({"recipes": rows})
        return
    render.table(
        ["recipe", "receipt", "summary"],
        [(row["name"], row["receipt"] or "", row["summary"]) for row in rows],
        styles={"recipe": "bold"},
    )
    render.say("Look into one with `grpokit recipes show NAME`; run it with `grpokit train NAME`.")
    render.say("A receipt is what training gave: `grpokit recipes verify NAME` checks it.")


def _receipt_in_short(found: Found) -> str | None:
    from grpokit.cli.recipes_show import in_short
    from grpokit.receipts.shelf import receipt_of

    try:
        receipt = receipt_of(found)
    except RecipeError:
        return "cannot be read"
    return in_short(receipt) if receipt is not None else None


def _summary(found: Found) -> str:
    from grpokit.compose.diagnostics import Report
    from grpokit.compose.files import read_recipe
    from grpokit.compose.nodes import at

    report = Report()
    tree = read_recipe(found.source, found.file, report)
    if report.errors or tree is None:
        return f"cannot be read: {report.errors[0]}"
    summary = at(tree, ("summary",))
    return str(summary.value) if summary is not None else ""


@app.command()
def show(
    name: Name,
    resolved: Annotated[
        bool,
        typer.Option("--resolved", help="Every value, defaults too, with where it came from."),
    ] = False,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Print a recipe: its text, or with --resolved each value and its origin."""
    from grpokit.compose.load import load_recipe
    from grpokit.compose.load import resolved as all_values
    from grpokit.compose.write import annotated, to_yaml

    # Looking imports nothing, and comes before agreeing to what a recipe would import.
    loaded = load_recipe(name, overrides=overrides or (), catalog=_catalog(foreign=True))
    if as_json:
        data = all_values(loaded) if resolved else loaded.data
        origins = loaded.provenance if resolved else {}
        receipt = None if overrides else _receipt(loaded)
        render.print_json(
            {"name": loaded.name, "recipe": data, "provenance": origins, "receipt": receipt}
        )
    elif resolved:
        render.say(annotated(all_values(loaded), loaded.provenance).rstrip("\n"))
    elif overrides or loaded.path is None:
        render.say(to_yaml(loaded.data).rstrip("\n"))
    else:
        render.say(loaded.path.read_text(encoding="utf-8").rstrip("\n"))
    if not overrides and not as_json:
        _say_receipt(name, loaded)


def _receipt(loaded: Loaded) -> Receipt | None:
    from grpokit.receipts.shelf import receipt_of

    return receipt_of(loaded.sources[0])


def _say_receipt(name: str, loaded: Loaded) -> None:
    """As comments, so that what is printed is a recipe."""
    try:
        receipt = _receipt(loaded)
    except RecipeError as error:
        render.warn(f"warning: {error}", "yellow")
        return
    if receipt is not None:
        from grpokit.cli.recipes_show import receipt_lines

        render.say("\n" + "\n".join(receipt_lines(name, receipt)))


@app.command()
def check(
    names: Annotated[list[str], typer.Argument(help="Recipe files or names.", metavar="RECIPE...")],
    overrides: Overrides = None,
    as_json: Json = False,
    foreign: ForeignRewards = False,
) -> None:
    """Check recipes: every problem at once, each with its place, its cause and what to do."""
    from grpokit.compose.diagnostics import RecipeProblems
    from grpokit.compose.load import load_recipe

    catalog = _catalog(foreign=foreign)
    results: list[dict[str, Any]] = []
    codes: set[ExitCode] = set()
    for name in names:
        try:
            loaded = load_recipe(name, overrides=overrides or (), catalog=catalog)
        except RecipeProblems as error:
            codes.add(error.exit_code)
            found = error.diagnostics
        else:
            found = (*loaded.notes, *_receipt_notes(loaded))
        ok = not any(item.level == "error" for item in found)
        results.append({"recipe": name, "ok": ok, "problems": [_as_data(item) for item in found]})
        if not as_json:
            _say_result(name, found, ok=ok)
    if as_json:
        render.print_json({"recipes": results})
    if codes:
        raise typer.Exit(ExitCode.USAGE if ExitCode.USAGE in codes else max(codes))


def _receipt_notes(loaded: Loaded) -> tuple[Diagnostic, ...]:
    """What is wrong with the receipt beside a recipe. It stops no run."""
    from grpokit.receipts.shelf import note

    found = note(loaded)
    return () if found is None else (found,)


def _as_data(item: Diagnostic) -> dict[str, Any]:
    return dataclasses.asdict(item)


def _say_result(name: str, found: tuple[Diagnostic, ...], *, ok: bool) -> None:
    errors = [item for item in found if item.level == "error"]
    render.problems(errors)
    render.problems((item for item in found if item.level != "error"), style="yellow")
    if ok:
        render.say(f"{name}: ok")
    else:
        count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
        render.warn(f"{name}: {count}")


@app.command()
def diff(
    left: Name,
    right: Name,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace one value of the second."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two recipes value by value, defaults included."""
    from grpokit.compose.diff import diff_recipes
    from grpokit.compose.load import load_recipe
    from grpokit.compose.write import scalar_text

    catalog = _catalog(foreign=True)  # a comparison imports nothing
    differences = diff_recipes(
        load_recipe(left, catalog=catalog),
        load_recipe(right, overrides=overrides or (), catalog=catalog),
    )
    if as_json:
        render.print_json(
            {"left": left, "right": right, "differences": [*map(dataclasses.asdict, differences)]}
        )
        return
    if not differences:
        render.say(f"{left} and {right} mean the same run")
        return
    render.table(
        ["key", left, right],
        [(item.key, scalar_text(item.left), scalar_text(item.right)) for item in differences],
        styles={"key": "bold"},
    )


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to a file, for an editor.")
    ] = None,
) -> None:
    """Print the JSON Schema of recipes, with the components that are installed here."""
    from grpokit.compose.schema import modeline, recipe_schema

    text = json.dumps(recipe_schema(_catalog()), indent=1) + "\n"
    if out is None:
        render.say(text.rstrip("\n"), limit=100_000_000)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PreflightError(
            f"the schema cannot be written: {error.strerror}",
            place=str(out),
            remedy="choose another file",
        ) from error
    render.say(f"{out} describes recipes with the components installed now.")
    render.say("An editor completes a recipe whose first line is:")
    render.say(f"  {modeline(str(out))}")
    render.say("The path is relative to the recipe.")
