"""``grpokit eval rescore``: stored answers, marked again by other rewards, without a model."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards, tell
from grpokit.cli.eval_measures import percent
from grpokit.cli.eval_report import short, write_recipe
from grpokit.cli.eval_show import points
from grpokit.cli.eval_target import is_evaluation
from grpokit.errors import RecipeError

if TYPE_CHECKING:
    from grpokit.evaluate.again import Flip
    from grpokit.evaluate.paired import Comparison
    from grpokit.evaluate.records import Evaluation
    from grpokit.evaluate.stored import Stored
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

app = typer.Typer()
PLACE = "grpokit eval rescore"
SHOWN = 3
"""Flipped answers that are shown."""
TEXT = 300
"""Characters of one."""


@app.command("rescore")
def rescore_command(
    evaluation: Annotated[Path, typer.Argument(help="The folder of an evaluation.")],
    reward: Annotated[
        str | None, typer.Option(metavar="NEW", help="The reward that says what is correct.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KEY=VALUE", help="A setting of it, as under `with:`."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="R", help="Mark as this recipe does: rewards, eval.correct, scoring."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace one value: eval.threshold=0.5."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to write; EVALUATION/rescored otherwise."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Mark the stored answers of an evaluation again, without a model, and say what changes.

    The questions stay those that were asked. Nothing is overwritten: what is found is an evaluation of
    its own, which can be compared and marked again as any other.
    """
    from grpokit.evaluate.ladder import climb
    from grpokit.evaluate.records import (
        compare_evaluations,
        fresh_folder,
        summary,
        write_evaluation,
    )
    from grpokit.evaluate.stored import read_stored
    from grpokit.registry.catalog import Catalog

    if not is_evaluation(evaluation):
        raise RecipeError(
            "this is no folder of an evaluation: it has no samples.jsonl and summary.json",
            place=str(evaluation),
            remedy="name one, such as runs/NAME/eval/20260131-184502",
        )
    stored = read_stored(evaluation.resolve())
    catalog = Catalog.load(foreign_rewards=foreign)
    changes = [*_one_reward(reward, settings or [], recipe), *(overrides or [])]
    chosen = _recipe(stored, recipe, changes, catalog)
    marked = _mark(stored, chosen, catalog)
    new = [each.new for each in marked]
    comparison = compare_evaluations(*new) if len(new) == 2 else None
    more: dict[str, Any] = {
        "rescored": {
            "from": str(evaluation.resolve()),
            "flips": {each.new.label: [flip.as_dict() for flip in each.flips] for each in marked},
        },
        **(climb(new).as_dict() if len(new) > 2 else {}),
    }
    place = fresh_folder(out or evaluation / "rescored", time.strftime("%Y%m%d-%H%M%S"))
    write_evaluation(place, new, comparison, more)
    write_recipe(place, chosen)
    if as_json:
        render.print_json({**summary(new, comparison, more), "folder": str(place)})
        return
    _show(marked, comparison)
    render.say(f"\nwritten to {short(place)}")


def _one_reward(reward: str | None, settings: Sequence[str], recipe: str | None) -> list[str]:
    """One reward in the place of all, as overrides of a recipe."""
    if reward is None:
        if settings:
            raise RecipeError(
                "--with belongs to --reward", place=PLACE, remedy="name the reward, or use --set"
            )
        return []
    if recipe is not None:
        raise RecipeError(
            "--reward and --recipe exclude each other", place=PLACE, remedy="give one of them"
        )
    from grpokit.compose.overrides import read_settings

    one = {"use": reward, **({"with": read_settings(settings)} if settings else {})}
    return [f"eval.rewards={json.dumps([one])}", "eval.correct=null"]


def _recipe(
    stored: Sequence[Stored], grader: str | None, changes: Sequence[str], catalog: Catalog
) -> Recipe:
    """The recipe of the stored evaluation, or of its run, with the grader that is asked for."""
    from grpokit.compose.load import load_recipe
    from grpokit.evaluate.again import settings_of

    folder, same = stored[0].folder, settings_of(stored[0])
    places = (folder / "recipe.yaml", folder.parent.parent / "recipe.yaml")
    own = next((str(path) for path in places if path.is_file()), grader)
    if own is None:
        raise RecipeError(
            "the evaluation was stored without its recipe, so its questions are not known",
            place=str(folder),
            remedy="name the recipe that it was made with: --recipe NAME",
        )
    asked = load_recipe(own, overrides=[*same, *([] if grader else changes)], catalog=catalog)
    tell(asked.notes)
    if grader is None or own == grader:
        return asked.recipe
    marks = load_recipe(grader, overrides=changes, catalog=catalog).recipe
    eval_ = asked.recipe.eval.model_copy(
        update={key: getattr(marks.eval, key) for key in ("rewards", "correct", "threshold")}
    )
    update = {"rewards": marks.rewards, "scoring": marks.scoring, "eval": eval_}
    return asked.recipe.model_copy(update=update)


@dataclass(frozen=True, kw_only=True)
class _Marked:
    old: Evaluation
    new: Evaluation
    flips: Sequence[Flip]


def _mark(stored: Sequence[Stored], recipe: Recipe, catalog: Catalog) -> list[_Marked]:
    from grpokit.engine.signals import StopFlag
    from grpokit.evaluate.again import flips, mark_again
    from grpokit.evaluate.run import prepare

    exam = prepare(recipe, catalog)
    found = []
    with StopFlag() as flag, exam.scorer() as scorer:
        for each in stored:
            new = mark_again(each, exam, scorer, should_stop=flag.poll)
            old = each.evaluation
            found.append(_Marked(old=old, new=new, flips=flips(old, new)))
    return found


def _show(marked: Sequence[_Marked], comparison: Comparison | None) -> None:
    old, new = marked[0].old, marked[0].new
    render.say(
        f"{len(new.counts)} questions that were answered before; correct meant {old.decides} >= "
        f"{old.threshold:g}, and means {new.decides} >= {new.threshold:g}"
    )
    render.say()
    columns = ["model", ">before", ">now", ">95% interval", ">wrong to right", ">right to wrong"]
    render.table([*columns, ">not scored"], [_row(each) for each in marked])
    if comparison is not None:
        low, high = comparison.interval
        render.say(
            f"\n{marked[1].new.label} against {new.label}, now: {comparison.sentence}\n"
            f"  difference  {points(comparison.difference)} points, 95% interval "
            f"[{points(low)}, {points(high)}]; before "
            f"{points(marked[1].old.accuracy - old.accuracy)}"
        )
    for each in marked:
        for flip in each.flips[:SHOWN]:
            _show_flip(each.new, flip)


def _row(each: _Marked) -> tuple[object, ...]:
    low, high = each.new.interval
    lost = sum(flip.before for flip in each.flips)
    return (
        each.new.label,
        percent(each.old.accuracy),
        percent(each.new.accuracy),
        f"[{percent(low)}, {percent(high)}]",
        len(each.flips) - lost,
        lost,
        each.new.failed,
    )


def _show_flip(evaluation: Evaluation, flip: Flip) -> None:
    item = flip.item
    change = "right to wrong" if flip.before else "wrong to right"
    render.say(f"\n{evaluation.label}, item {item.id[:8]} (row {item.index}): {change}", "bold")
    texts: Mapping[str, object] = {"question": item.question, "gold": item.answer}
    for name, value in {**texts, "answer": item.text}.items():
        if value is not None:
            shown = render.safe(str(value).strip(), limit=TEXT)
            render.say(f"  {name}\n" + "\n".join(f"    {line}" for line in shown.splitlines()))
