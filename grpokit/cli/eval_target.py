"""What `grpokit eval TARGET` means: a run, a checkpoint, a model, one behind an endpoint, or a stored evaluation."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.engine.rundir import RunDir, named_run
from grpokit.errors import CheckpointError, RecipeError

if TYPE_CHECKING:
    from grpokit.evaluate.stored import Stored
    from grpokit.spec.recipe import Recipe

__all__ = ["API", "Subject", "find_policy", "find_stored", "find_subjects", "is_evaluation"]

API = "openai:"
"""What a target begins with that is a model behind an endpoint, and the backend that asks it."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model to evaluate.

    Attributes:
        label: what the tables call it.
        folder: of the trained policy; None for a base model.
        model: id or folder of the base model; None for the recipe's own.
        home: the run that it belongs to, where the questions come from another recipe.
        origin: tells it from another of the same label.
        step: of the checkpoint, for a curve over those of ``run``.
        backend: settings of the backend that asks an endpoint; None for what runs here.
        stored: its answers, where they are there already.
    """

    label: str
    folder: Path | None = None
    model: str | None = None
    home: Path | None = None
    origin: str = ""
    run: Path | None = None
    step: int | None = None
    backend: Mapping[str, Any] | None = None
    stored: Stored | None = None

    def recipe_for(self, recipe: Recipe) -> Recipe:
        """The recipe with this subject's base model: an adapter belongs to the one it was trained on."""
        if self.backend is not None:
            use = {"use": API.removesuffix(":"), "with_": dict(self.backend)}
            recipe = recipe.model_copy(update={"backend": recipe.backend.model_copy(update=use)})
        if self.home is not None:
            own = RunDir.existing(self.home).recipe()
            return recipe.model_copy(update={"model": own.model})
        if self.model is None or self.model == recipe.model.id:
            return recipe
        model = recipe.model.model_copy(update={"id": self.model, "revision": None})
        return recipe.model_copy(update={"model": model})


Found = tuple[Subject, Path | None]
"""A subject and the run that it belongs to."""


def find_subjects(
    targets: str | Sequence[str],
    *,
    recipe: str | None = None,
    base: bool = False,
    against: str | None = None,
    checkpoint: str | Sequence[str] | None = None,
    endpoint: Mapping[str, Any] | None = None,
) -> tuple[list[Subject], str | None, Path | None]:
    """The models to evaluate (the one to compare with first), the recipe, the run's eval folder.

    What is not of one run alone stands in none.

    There is no recipe where all of them are stored evaluations.

    Raises:
        RecipeError: there is no recipe, or options contradict each other.
        CheckpointError: a run has no usable checkpoint, or a stored evaluation is damaged.
    """
    if base and against is not None:
        raise RecipeError("--base and --against exclude each other", place="grpokit eval")
    names = [targets] if isinstance(targets, str) else list(targets)
    steps = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint or [])
    found = [each for name in names for each in _subjects(name, steps, endpoint or {})]
    run = next((run for _, run in found if run is not None), None)
    alone = len({run for _, run in found}) == 1
    if base:
        first = found[0][1]
        if first is None:
            raise RecipeError(
                f"{names[0]} is no run, so its base model is not known",
                place="--base",
                remedy="name the other model with --against",
            )
        found.insert(0, (Subject(label="base", origin=first.name, run=first, step=0), first))
    if against is not None:
        found.insert(0, _subjects(against, [], endpoint or {})[-1])
    source = recipe or _recipe_of(run, found)
    if source is None and any(subject.stored is None for subject, _ in found):
        raise RecipeError(
            f"{names[0]} is no run, so it brings no questions",
            place="grpokit eval",
            remedy="add --recipe NAME (`grpokit recipes list`)",
        )
    subjects = _apart([_at_home(subject, own, source) for subject, own in found])
    return subjects, source, run / "eval" if run and alone else None


def _recipe_of(run: Path | None, found: Sequence[Found]) -> str | None:
    """The recipe of the first run, else that of the first stored evaluation, with its questions."""
    if run is not None:
        return str(run / "recipe.yaml")
    kept = [subject.stored.folder / "recipe.yaml" for subject, _ in found if subject.stored]
    return next((str(path) for path in kept if path.is_file()), None)


def _apart(subjects: Sequence[Subject]) -> list[Subject]:
    """The same with labels that no two share."""
    often = Counter(subject.label for subject in subjects)
    seen: Counter[str] = Counter()
    found = []
    for subject in subjects:
        label = subject.label
        if often[label] > 1 and subject.origin:
            label = f"{label} ({subject.origin})"
        seen[label] += 1
        if seen[label] > 1:
            label = f"{label} ({seen[label]})"
        found.append(replace(subject, label=label))
    return found


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
    if checkpoint == "all":
        raise RecipeError(
            "one checkpoint is wanted here", place="--checkpoint", remedy="name its step"
        )
    [(subject, run)] = _subjects(target, [checkpoint] if checkpoint else [], {})
    if subject.folder is None or run is None:
        raise AssertionError(target)
    return subject.folder, run


def is_evaluation(path: Path) -> bool:
    """Whether this is the folder of an evaluation that was finished."""
    return (path / "samples.jsonl").is_file() and (path / "summary.json").is_file()


def find_stored(target: str) -> Stored | None:
    """The stored evaluation that ``FOLDER`` or ``FOLDER:LABEL`` means; None if it is none.

    Without a label it is the model that was evaluated: the last one.

    Raises:
        CheckpointError: it is damaged, or no model of it has that label.
    """
    name, label = target, ""
    if not Path(name).exists():
        name, _, label = target.rpartition(":")
    folder = Path(name or target).expanduser()
    if not is_evaluation(folder):
        return None
    from grpokit.evaluate.stored import read_stored

    models = read_stored(folder.resolve())
    chosen = [each for each in models if not label or each.evaluation.label == label]
    if not chosen:
        names = ", ".join(each.evaluation.label for each in models)
        raise CheckpointError(
            f"the evaluation has no model {label!r}; it has {names or 'none'}", place=str(folder)
        )
    return chosen[-1]


def _at_home(subject: Subject, run: Path | None, source: str | None) -> Subject:
    """Remembers the run whose model this is, unless the recipe in use is the run's own."""
    if run is None or source == str(run / "recipe.yaml"):
        return subject
    return replace(subject, home=run)


def _subjects(target: str, checkpoints: Sequence[str], endpoint: Mapping[str, Any]) -> list[Found]:
    """What a target means: one model, or a checkpoint of a run each."""
    path = named_run(target)
    stored = find_stored(target)
    run = None if stored or target.startswith(API) else _run_of(path)
    if run is None:
        if checkpoints:
            raise RecipeError(
                f"{target} is no run, so it has no checkpoints",
                place="--checkpoint",
                remedy="name a folder below runs/",
            )
        if stored is not None:
            found = Subject(label=stored.evaluation.label, stored=stored, origin=stored.folder.name)
        elif target.startswith(API):
            name = target.removeprefix(API)
            found = Subject(label=name, model=name, backend=endpoint, origin="endpoint")
        else:
            found = Subject(label=path.name or target, model=target)
        return [(found, None)]
    if path.resolve() == run:
        asked: Sequence[str | None] = checkpoints or (None,)
        wanted = [one for each in asked for one in _expanded(run, each)]
        return [(replace(_of_run(run, each), origin=run.name, run=run), run) for each in wanted]
    if checkpoints:
        raise RecipeError(
            f"{target} is a checkpoint already",
            place="--checkpoint",
            remedy=f"leave it out, or name the run: {run}",
        )
    folder = _checked(path.resolve())
    if folder.name in ("policy", "state"):
        folder = folder.parent
    found = Subject(label=folder.name, folder=folder, origin=run.name, run=run)
    return [(replace(found, step=_step_of(folder)), run)]


def _expanded(run: Path, checkpoint: str | None) -> list[str | None]:
    """``all`` as every checkpoint, and the final policy if it is none of these."""
    if checkpoint != "all":
        return [checkpoint]
    steps = [_step_of(folder) for folder in sorted(run.glob("checkpoints/step-*[0-9]"))]
    final = run / "final"
    alone = final.is_dir() and (not steps or _step_of(final) != steps[-1])
    return [*map(str, steps), *(["final"] if alone or not steps else [])]


def _step_of(folder: Path) -> int | None:
    """The step of a checkpoint's folder, or of a final policy."""
    if folder.name.startswith("step-"):
        return int(folder.name.removeprefix("step-"))
    try:
        return int(json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
        folder = _checked(run / "final")
        return Subject(label="trained", folder=folder, step=_step_of(folder))
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
            remedy="name one of them, `best`, `newest`, `final` or `all`",
        )
    return Subject(label=folder.name, folder=_checked(folder), step=_step_of(folder))


def _step(text: str | None) -> int:
    try:
        return int(text or "")
    except ValueError:
        raise RecipeError(
            f"{text!r} is no checkpoint",
            place="--checkpoint",
            remedy="give a step, `best`, `newest`, `final` or `all`",
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
