"""Trained weights of a run for others: written aside, proved, described, then renamed into place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import make_prompt
from grpokit.compose.write import to_yaml
from grpokit.engine.rundir import RunDir
from grpokit.errors import CheckpointError, ComponentError, PreflightError
from grpokit.export.aside import aside, files_of
from grpokit.export.card import RunFacts, model_card
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import resolve
from grpokit.spec.components import BackendSpec, ModelSpec
from grpokit.spec.export import ExportRequest, ExportResult, Form
from grpokit.spec.flow import Message
from grpokit.spec.recipe import Recipe

__all__ = ["Exported", "export_run", "public_recipe"]

PROMPTS = 4
"""Questions on which the proof compares the models."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A finished export. ``files`` are (name, bytes)."""

    folder: Path
    form: Form
    files: tuple[tuple[str, int], ...]
    result: ExportResult

    def as_dict(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "form": self.form,
            "files": [{"name": name, "bytes": size} for name, size in self.files],
            "proof": dict(self.result.proof),
            "about": dict(self.result.about),
        }


def export_run(
    home: Path,
    policy: Path,
    form: Form,
    catalog: Catalog,
    *,
    kind: str = "",
    out: Path | None = None,
    force: bool = False,
    repo: str = "",
    say: Callable[[str], None],
    poll: Callable[[], None],
) -> Exported:
    """Writes the export of one policy of the run ``home``.

    Args:
        home: the run.
        policy: folder of a verified policy of it.
        form: merged, adapter or gguf.
        catalog: finds the backend that wrote the policy.
        kind: type of the written numbers; the form's default if empty.
        out: the new folder; below ``home/export`` if left out.
        force: an existing folder is replaced.
        repo: where the result will be found, for the model card.
        say: takes lines about progress.
        poll: raises when the user wants to stop.

    Raises:
        ComponentError: the backend cannot export.
        CheckpointError: the folder exists, there is no room, or the proof fails.
    """
    run = RunDir.existing(home)
    recipe = run.recipe()
    export = _exporter(catalog, recipe)
    folder = out or _default_folder(home, policy, form, kind)
    with _made(folder, force=force) as work:
        request = ExportRequest(
            recipe=recipe,
            policy=policy,
            out=work,
            form=form,
            type=kind,
            name=f"{_title(run, recipe)}-{kind or 'f16'}",
            prompts=_questions(recipe, catalog),
            say=say,
            poll=poll,
        )
        result = export(request)
        _describe(run, request, result, license_=_license(catalog, recipe), place=repo or folder)
    return Exported(folder=folder, form=form, files=_sizes(folder), result=result)


def _sizes(folder: Path) -> tuple[tuple[str, int], ...]:
    return tuple((str(path.relative_to(folder)), path.stat().st_size) for path in files_of(folder))


def _describe(
    run: RunDir, request: ExportRequest, result: ExportResult, *, license_: str, place: str | Path
) -> None:
    """Recipe, model card and proof, beside the weights. ``place``: a repository, or a folder."""
    recipe, work = request.recipe, request.out
    step, text = _step_of(request.policy), public_recipe(recipe)
    (work / "recipe.yaml").write_text(f"# resolved recipe\n{text}", encoding="utf-8")
    title = place.rpartition("/")[2] if isinstance(place, str) else _title(run, recipe)
    card = model_card(
        RunFacts.read(run, recipe, step=step),
        result,
        request.form,
        license_=license_,
        recipe_text=text,
        title=title,
        place=place if isinstance(place, str) else place.name,
    )
    (work / "README.md").write_text(card, encoding="utf-8", errors="backslashreplace")
    _write_proof(work, result, recipe=recipe, step=step)
    request.poll()


def _exporter(catalog: Catalog, recipe: Recipe) -> Callable[[ExportRequest], ExportResult]:
    entry = catalog.find("backend", recipe.backend.use)
    if not isinstance(entry.spec, BackendSpec) or not entry.spec.export:
        able = [e.id for e in catalog.entries("backend") if getattr(e.spec, "export", "")]
        raise ComponentError(
            f"the backend {entry.id} cannot export weights",
            place="backend.use",
            remedy=f"backends that can: {', '.join(able) or 'none'}",
        )
    found: Callable[[ExportRequest], ExportResult] = resolve(entry.spec.export, entry)
    return found


def _questions(recipe: Recipe, catalog: Catalog) -> tuple[tuple[Message, ...], ...]:
    """The first ones of evaluation, as they are asked there; of training where that is not to be had."""
    try:
        dataset = open_dataset(catalog, recipe.eval.dataset or recipe.dataset)
    except PreflightError:
        if recipe.eval.dataset is None:
            raise
        dataset = open_dataset(catalog, recipe.dataset)
    count = PROMPTS if dataset.size is None else min(PROMPTS, dataset.size)
    return tuple(make_prompt(recipe.prompt, dataset[i], i).messages for i in range(count))


def _license(catalog: Catalog, recipe: Recipe) -> str:
    """That of a catalogued base model; of others it is not known."""
    for entry in catalog.entries("model"):
        if recipe.model.id in (entry.id, entry.spec.name) and isinstance(entry.spec, ModelSpec):
            return entry.spec.license
    return ""


def _step_of(policy: Path) -> int | None:
    owner = policy.parent if policy.name == "policy" else policy
    try:
        return int(json.loads((owner / "run.json").read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _default_folder(home: Path, policy: Path, form: Form, kind: str) -> Path:
    owner = policy.parent if policy.name == "policy" else policy
    parts = [form, *([kind] if kind else []), *([owner.name] if owner.name != "final" else [])]
    return home / "export" / "-".join(parts)


def _title(run: RunDir, recipe: Recipe) -> str:
    """Base model and recipe, as a file name could be."""
    name = str(run.plan().get("name") or "run")
    joined = f"{Path(recipe.model.id).name}-{name}"
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in joined)
    return safe.strip("-.")[:80] or "model"


@contextmanager
def _made(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside the wanted one; it takes the name at the end, or vanishes with an error."""
    if folder.exists() and not force:
        raise CheckpointError(
            "there is something of that name already",
            place=str(folder),
            remedy="name another folder with --out, or replace it with --force",
        )
    if folder.exists() and not (folder / "proof.json").is_file():
        raise CheckpointError(
            "--force replaces exports only, and this is none",
            place=str(folder),
            remedy="name another folder with --out",
        )
    try:
        with aside(folder) as work:
            yield work
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]
        raise CheckpointError(
            f"the export could not be made: {reason}",
            place=str(error.filename or folder),
            remedy="free disk space, or name another folder with --out, if that is the cause",
        ) from error


def _write_proof(folder: Path, result: ExportResult, *, recipe: Recipe, step: int | None) -> None:
    files = {}
    for path in files_of(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[str(path.relative_to(folder))] = {"bytes": path.stat().st_size, "sha256": digest}
    record = {
        **result.proof,
        "step": step,
        "planned_steps": recipe.train.steps,
        "about": dict(result.about),
        "files": files,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
    (folder / "proof.json").write_text(text + "\n", encoding="utf-8")


def public_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML; folders of this machine are nobody else's business."""
    data = recipe.model_dump(mode="json", by_alias=True)
    said = {key: data[key] for key in ("summary", "prompt")}  # `/no_think` is no path
    return to_yaml({**_shortened(data), **said})


def _shortened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    if isinstance(value, str) and value.startswith(("/", "~/")) and "\n" not in value:
        return Path(value).name
    return value
