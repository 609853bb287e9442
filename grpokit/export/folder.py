"""Writes an exported recipe: command, data, rewards, the recipe itself and a README."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grpokit.compose.asked import as_asked
from grpokit.compose.load import resolved
from grpokit.compose.trials import final_answer, ways
from grpokit.compose.write import to_yaml
from grpokit.errors import PreflightError
from grpokit.export import axolotl, data, texts, trl, verl
from grpokit.export.aside import aside
from grpokit.export.axes import axes_of
from grpokit.export.notes import Note, Notes
from grpokit.export.sizes import sizes_of
from grpokit.interop.rewards import refuse_measured
from grpokit.interop.trl import TRLS_OWN
from grpokit.interop.verl import VERLS_OWN
from grpokit.registry import models
from grpokit.scoring.scorer import Scorer, scoring_options, setups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grpokit.compose.load import Loaded
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.scoring.scorer import RewardSetup
    from grpokit.scoring.signature import Asked

__all__ = ["Exported", "Target", "export_recipe"]

Target = Literal["trl", "verl", "axolotl"]
TITLES = {"trl": "TRL", "verl": "verl", "axolotl": "axolotl"}
LONGEST = 1024
"""Tokens of verl's prompts where the recipe has no bound and questions may be long."""
UNKNOWN_TO_VERL = ("finish", "truncated", "tokens", "sample")
"""Facts of a completion that verl does not tell its reward function."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, what is different there, and what to type."""

    folder: Path
    files: tuple[str, ...]
    notes: tuple[Note, ...]
    commands: tuple[str, ...]


def export_recipe(
    loaded: Loaded,
    catalog: Catalog,
    *,
    target: Target,
    folder: Path,
    rows: int | None = None,
    force: bool = False,
) -> Exported:
    """Writes a folder that runs on another trainer with our rewards.

    Args:
        loaded: the recipe.
        catalog: the installed components.
        target: the trainer.
        folder: a folder that does not exist, or is empty.
        rows: questions to write.
        force: write the nearest where the target cannot express the recipe.

    Raises:
        PreflightError: the target cannot express it, the data or a reward cannot be had, or the
            folder is in use.
    """
    _refuse_used(folder)
    job = _Job(loaded, catalog, target, rows)
    with job.scorer:
        job.look()
        if not force:
            job.notes.refuse(TITLES[target], loaded.name)
        job.prepare()
    try:
        with aside(folder) as work:
            job.write(work)
    except OSError as error:
        raise PreflightError(
            f"the folder cannot be written: {error.strerror or error}",
            place=str(folder),
            remedy="free disk space, or name another one with --out",
        ) from error
    files = tuple(sorted(path.name for path in folder.iterdir()))
    return Exported(
        folder=folder, files=files, notes=tuple(job.notes.found), commands=texts.COMMANDS[target]
    )


def _refuse_used(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PreflightError(
            "the folder is not empty" if folder.is_dir() else "this is a file",
            place=str(folder),
            remedy="name another one with --out",
        )
    if folder.exists() and folder.samefile(Path.cwd()):
        raise PreflightError(
            "the export takes the place of this folder, and you are in it",
            place=str(folder),
            remedy="name a new one with --out",
        )


class _Job:
    """One export: first everything is found out, then everything is written."""

    def __init__(self, loaded: Loaded, catalog: Catalog, target: Target, rows: int | None) -> None:
        self.loaded, self.catalog, self.target, self.rows = loaded, catalog, target, rows
        self.recipe = as_asked(loaded.recipe, catalog)
        if target == "verl":  # verl counts its further rounds itself
            self.recipe = loaded.recipe
        self.notes = Notes()
        self.setups = setups(catalog, loaded.recipe.rewards)
        refuse_measured([each.entry for each in self.setups])
        self.scorer = Scorer(self.setups, **scoring_options(loaded.recipe.scoring))
        self.settings: dict[str, Any] = {}
        self.components: tuple[str, ...] = ()
        self.wants_messages = False

    def look(self) -> None:
        """Maps the algorithm and asks the rewards what they need; no data is read."""
        axes = axes_of(self.loaded, self.catalog)
        if self.target == "verl":
            self.settings = verl.algorithm_overrides(axes, self.recipe, self.notes)
        else:
            self.settings = trl.algorithm_settings(axes, self.notes)
        if self.target == "axolotl":
            axolotl.lacking(self.settings, self.notes)
        self.token_mean = axes.one("aggregation").name == "token-mean"
        for number, (setup, asked) in enumerate(
            zip(self.setups, self.scorer.asked().values(), strict=True)
        ):
            self._look_at(setup, asked, f"rewards.{number}")

    def prepare(self) -> None:
        """Opens the data, and maps what is not the algorithm."""
        recipe, notes = self.recipe, self.notes
        needed = recipe.train.steps * recipe.rollout.prompts
        self.train = data.questions(recipe, recipe.dataset, self.catalog, self.rows, needed)
        if self.train.cut:
            notes.differs("dataset", f"the first {len(self.train.prompts)} rows were written")
        if recipe.rollout.shuffle:
            notes.differs("rollout.shuffle", "another order of the questions")
        self._try_rewards()
        self._refuse_few_rows()
        longest = data.longest_prompt(self.train.prompts)
        unit = recipe.rollout.group if self.target == "verl" else 1
        self.sizes = sizes_of(recipe, notes, unit=unit, longest=longest)
        if self.target == "verl":
            self._prepare_verl()
        else:
            self.settings |= trl.run_settings(recipe, self.sizes, notes)
            if self.token_mean:
                trl.denominators(self.sizes, notes)
        if self.target == "axolotl":
            self._prepare_axolotl()
        self._other_keys()

    def _refuse_few_rows(self) -> None:
        """Other trainers drop a step that the rows of an epoch do not fill: they would not train."""
        found, asked = len(self.train.prompts), self.recipe.rollout.prompts
        if found >= asked:
            return
        cut = self.rows is not None and self.train.cut
        raise PreflightError(
            f"{found} questions are fewer than the {asked} of a step; {TITLES[self.target]} leaves "
            "such a step out, and trains nothing",
            place="--rows" if cut else "dataset",
            remedy=f"use --rows {asked} or more"
            if cut
            else f"use --set rollout.prompts={max(found, 1)}",
        )

    def _prepare_verl(self) -> None:
        recipe, notes = self.recipe, self.notes
        section = recipe.eval.dataset
        if section is not None and recipe.eval.rewards is not None:
            notes.differs("eval.rewards", "verl's validation takes the rewards of training")
        self.exam = self.train
        if section is not None:
            self.exam = data.questions(recipe, section, self.catalog, recipe.eval.limit, 200)
        longest = data.longest_prompt((*self.train.prompts, *self.exam.prompts))
        if longest > LONGEST and recipe.rollout.max_prompt_tokens is None:
            notes.differs(
                "rollout.max_prompt_tokens",
                f"verl needs a bound and stops at a longer prompt: it is {LONGEST} "
                "(data.max_prompt_length)",
            )
        self.settings |= verl.run_overrides(
            recipe, self.sizes, notes, name=self.loaded.name, longest=min(longest, LONGEST)
        )

    def _prepare_axolotl(self) -> None:
        names = texts.reward_names(setup.name for setup in self.setups)
        self.settings = axolotl.config(
            self.recipe,
            self.settings,
            self.notes,
            model=self._model(here=True),
            rewards=[f"grpokit_rewards.{name}" for name in names],
            weights=[setup.weight for setup in self.setups],
        )

    def _try_rewards(self) -> None:
        """Missing columns, and the names of components."""
        problems = self.scorer.problems(self.train.columns)
        if problems:
            raise PreflightError(
                "the rewards do not fit the data set",
                place=self.loaded.name,
                problems=tuple(f"{each.key}: {each.fact}; {each.remedy}" for each in problems),
            )
        self.components = _components(self.scorer, self.train.prompts[:2])

    def _look_at(self, setup: RewardSetup, asked: Asked, key: str) -> None:
        names = {*asked.required, *asked.optional}
        self.wants_messages |= bool(names & {"prompt", "prompts", "messages"}) or asked.everything
        if self.target == "verl":
            unknown = [name for name in UNKNOWN_TO_VERL if name in names or f"{name}s" in names]
            if unknown:
                self.notes.missing(
                    key,
                    f"{setup.name} asks for {', '.join(unknown)}, which verl does not tell rewards",
                )
            if asked.form == "group":
                self.notes.missing(
                    key,
                    f"{setup.name} compares the completions of a prompt; verl asks about one at a time",
                )
            if asked.form == "batch":
                self.notes.differs(key, f"{setup.name} gets one completion at a time")
        elif names & {"finish", "truncated"}:
            self.notes.differs(
                key,
                f"for {setup.name} a completion is truncated if it has rollout.max_tokens tokens",
            )

    def _other_keys(self) -> None:
        recipe, notes, title = self.recipe, self.notes, TITLES[self.target]
        if recipe.callbacks:
            notes.differs("callbacks", f"observers of grpokit do not run under {title}")
        if recipe.model.eos is not None and self.target != "trl":
            notes.differs(
                "model.eos", f"change the tokenizer's files; {title} takes them as they are"
            )
        if recipe.model.chat_template is not None and self.target != "trl":
            notes.differs("model.chat_template", f"put it into the model's folder for {title}")
        if recipe.eval.dataset is not None and self.target != "verl":
            merged = ", once the adapter is merged" if recipe.model.lora is not None else ""
            notes.differs(
                "eval",
                f"{title} does not evaluate; `grpokit eval out --recipe recipe.yaml` does{merged}",
            )
        if self.recipe.backend.with_:
            notes.differs("backend", f"settings of {recipe.backend.use} have no place in {title}")

    def _model(self, *, here: bool = False) -> str:
        """The model's id; a folder as an absolute path; ``here``: the folder of a catalogued one."""
        name = self.recipe.model.id
        entry = models.find(name, self.catalog)
        if entry is not None:
            return str(models.place_of(entry)) if here else name
        path = Path(name).expanduser()
        return str(path.absolute()) if path.is_dir() else name

    def write(self, folder: Path) -> None:
        """Every file of the folder."""
        files = {"recipe.yaml": to_yaml(data.anchored(resolved(self.loaded), model=self._model()))}
        files["grpokit_rewards.py"] = texts.rewards(
            self.loaded.name,
            self.target,
            _sections(self.setups),
            scoring=self._scoring(),
            verl=self._verl_options(),
        )
        if self.target == "trl":
            files["train.py"] = texts.trl_script(
                self.loaded.name, self.recipe, self._model(), self.settings
            )
        if self.target == "axolotl":
            files["axolotl.yaml"] = to_yaml(self.settings)
        if self.target == "verl":
            files["train.sh"] = texts.verl_script(self.loaded.name, self._model(), self.settings)
            self._write_parquet(folder)
        else:
            data.write_jsonl(
                folder / "train.jsonl", data.trl_rows(self.train, (*TRLS_OWN, "image", "images"))
            )
        files["README.md"] = texts.readme(
            self.loaded.name, TITLES[self.target], self._entries(), self.notes.found
        )
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        if self.target == "verl":
            (folder / "train.sh").chmod(0o755)

    def _entries(self) -> list[Entry]:
        """The components that must be installed there."""
        model = models.find(self.recipe.model.id, self.catalog)
        return [setup.entry for setup in self.setups] + ([model] if model is not None else [])

    def _write_parquet(self, folder: Path) -> None:
        for split, found in (("train", self.train), ("val", self.exam)):
            packed = data.verl_rows(
                found, VERLS_OWN, source=self.loaded.name, split=split, messages=self.wants_messages
            )
            data.write_parquet(folder / f"{split}.parquet", packed)

    def _scoring(self) -> dict[str, Any]:
        scoring = self.recipe.scoring
        options: dict[str, Any] = {
            "timeout": scoring.timeout,
            "max_error_rate": scoring.max_error_rate,
            "isolate": scoring.isolate,
            "memory": scoring.memory,
        }
        return (
            options
            if self.target == "verl"
            else {**options, "max_tokens": self.recipe.rollout.max_tokens}
        )

    def _verl_options(self) -> dict[str, Any]:
        exam = self.recipe.eval
        names = [setup.name for setup in self.setups]
        deciding = exam.correct or names[0]
        return {
            "group": self.recipe.rollout.group,
            "correct": (deciding, exam.threshold) if deciding in names else None,
            "components": self.components,
        }


def _sections(found: Sequence[RewardSetup]) -> list[dict[str, Any]]:
    return [
        {"use": s.entry.id, "name": s.name, "weight": s.weight, "with": dict(s.settings)}
        for s in found
    ]


def _components(scorer: Scorer, prompts: Sequence[Any]) -> tuple[str, ...]:
    """Names of the components that the rewards report about right answers to a few rows."""
    texts_PG: list[list[str]] = [
        list(ways(final_answer(prompt.row.get("answer", ""))).values()) for prompt in prompts
    ]
    scores = scorer.score_texts(
        [prompt.row for prompt in prompts],
        texts_PG,
        messages=[prompt.messages for prompt in prompts],
    )
    found: Mapping[str, Any] = scores.components
    return tuple(found)
