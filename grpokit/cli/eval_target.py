"""What `grpokit eval TARGET` means: a run, a checkpoint of a run, or a model."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from grpokit.engine.rundir import RunDir, named_run
from grpokit.errors import CheckpointError, RecipeError

if TYPE_CHECKING:
    from grpokit.spec.recipe import Recipe

__all__ = ["Subject", "find_policy", "find_subjects"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model to evaluate.

    Attributes:
        label: what the tables call it.
        folder: of the trained policy; None for a base model.
        model: id or folder of the base model; None for the recipe's own.
        home: the run that it belongs to, where the questions come from another recipe.
    """

    label: str
    folder: Path | None = None
    model: str | None = None
    home: Path | None = None

    def recipe_for(self, recipe: Recipe) -> Recipe:
        """The recipe with this subject's base model: an adapter belongs to the one it was trained on."""
        if self.home is not None:
            own = RunDir.existing(self.home).recipe()
            return recipe.model_copy(update={"model": own.model})
        if self.model is None or self.model == recipe.model.id:
            return recipe
        model = recipe.model.model_copy(update={"id": self.model, "revision": None})
        return recipe.model_copy(update={"model": model})


def find_subjects(
    target: str,
    *,
    recipe: str | None = None,
    base: bool = False,
    against: str | None = None,
    checkpoint: str | None = None,
) -> tuple[list[Subject], str, Path | None]:
    """The models to evaluate (the one to compare with first), the recipe, the run's eval folder.

    Raises:
        RecipeError: there is no recipe, or options contradict each other.
        CheckpointError: a run has no usable checkpoint.
    """
    if base and against is not None:
        raise RecipeError("--base and --against exclude each other", place="grpokit eval")
    subject, run = _subject(target, checkpoint)
    source = recipe or (str(run / "recipe.yaml") if run else None)
    if source is None:
        raise RecipeError(
            f"{target} is no run, so it brings no questions",
            place="grpokit eval",
            remedy="add --recipe NAME (`grpokit recipes list`)",
        )
    folder = run / "eval" if run else None
    if base:
        if run is None:
            raise RecipeError(
                f"{target} is no run, so its base model is not known",
                place="--base",
                remedy="name the other model with --against",
            )
        first = Subject(label="base")
        return [_at_home(first, run, source), _at_home(subject, run, source)], source, folder
    subject = _at_home(subject, run, source)
    if against is None:
        return [subject], source, folder
    other, other_run = _subject(against, None)
    other = _at_home(other, other_run, source)
    if other.label == subject.label:
        other = replace(other, label=f"{other.label} (1)")
    return [other, subject], source, folder


def find_policy(target: str, checkpoint: str | None = None) -> tuple[Path, Path]:
    """The folder of a trained policy, whole and verified, and the run that it belongs to.

    Raises:
        RecipeError: ``target`` is no run and no checkpoint of one.
        CheckpointError: the run has no usable checkpoint.
    """
    path = named_run(target)
    if _run_of(path) is None:
        raise RecipeError(
            "this is no run, and no checkpoint of one",
            place=str(path),
            remedy="name a folder below runs/, or `last`",
        )
    subject, run = _subject(target, checkpoint)
    if subject.folder is None or run is None:
        raise AssertionError(target)
    return subject.folder, run


def _at_home(subject: Subject, run: Path | None, source: str) -> Subject:
    """Remembers the run whose model this is, unless the recipe in use is the run's own."""
    if run is None or source == str(run / "recipe.yaml"):
        return subject
    return replace(subject, home=run)


def _subject(target: str, checkpoint: str | None) -> tuple[Subject, Path | None]:
    path = named_run(target)
    run = _run_of(path)
    if run is None:
        if checkpoint is not None:
            raise RecipeError(
                f"{target} is no run, so it has no checkpoints",
                place="--checkpoint",
                remedy="name a folder below runs/",
            )
        return Subject(label=path.name or target, model=target), None
    if path.resolve() == run:
        return _of_run(run, checkpoint), run
    if checkpoint is not None:
        raise RecipeError(
            f"{target} is a checkpoint already",
            place="--checkpoint",
            remedy=f"leave it out, or name the run: {run}",
        )
    folder = _checked(path.resolve())
    if folder.name in ("policy", "state"):
        folder = folder.parent
    return Subject(label=folder.name, folder=folder), run


def _run_of(path: Path) -> Path | None:
    """The run directory that ``path`` is, or lies in; an export in a run is a model of its own."""
    if not path.exists():
        return None
    whole = path.resolve()
    if (whole / "proof.json").is_file():
        return None
    for candidate in (whole, *whole.parents[:3]):
        if (candidate / "recipe.yaml").is_file() and (candidate / "plan.json").is_file():
            return candidate
    return None


def _of_run(run: Path, checkpoint: str | None) -> Subject:
    """The policy that is asked for: the final one, else that of the newest whole checkpoint."""
    if checkpoint in (None, "final") and (run / "final").is_dir():
        return Subject(label="trained", folder=_checked(run / "final"))
    folders = sorted(run.glob("checkpoints/step-*[0-9]"))
    if not folders or checkpoint == "final":
        raise CheckpointError(
            "the run is not complete, so it has no final policy"
            if checkpoint == "final" and folders
            else "the run has no checkpoint yet",
            place=str(run),
            remedy=f"go on with: grpokit train --resume {shlex.quote(str(run))}",
        )
    if checkpoint in (None, "newest"):
        folder = folders[-1]
    else:
        step = _best_step(folders[-1]) if checkpoint == "best" else _step(checkpoint)
        folder = run / "checkpoints" / f"step-{step:06d}"
    if not folder.is_dir():
        known = ", ".join(str(int(each.name.removeprefix("step-"))) for each in folders)
        raise CheckpointError(
            f"there is no checkpoint {checkpoint}; there are {known}",
            place=str(run / "checkpoints"),
            remedy="name one of them, `best`, `newest` or `final`",
        )
    return Subject(label=folder.name, folder=_checked(folder))


def _step(text: str | None) -> int:
    try:
        return int(text or "")
    except ValueError:
        raise RecipeError(
            f"{text!r} is no checkpoint",
            place="--checkpoint",
            remedy="give a step, `best`, `newest` or `final`",
        ) from None


def _best_step(newest: Path) -> int:
    try:
        best = json.loads((newest / "run.json").read_text(encoding="utf-8")).get("best_step")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"the checkpoint is damaged: run.json cannot be read ({error})",
            place=str(newest),
            remedy="choose another with --checkpoint",
        ) from error
    if best is None:
        raise CheckpointError(
            "the run has not called any checkpoint the best yet",
            place=str(newest.parent),
            remedy="use --checkpoint newest",
        )
    return int(best)


def _checked(folder: Path) -> Path:
    """The folder, if every file of it has the hash that was written with it."""
    from grpokit.engine.checkpoint import verify

    owner = folder.parent if folder.name in ("policy", "state") else folder
    problem = verify(owner)
    if problem:
        raise CheckpointError(
            f"the checkpoint is damaged: {problem}",
            place=str(owner),
            remedy="choose another with --checkpoint",
        )
    return folder
