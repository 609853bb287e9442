"""Collecting a plan part by part. A part that fails is reported, and skips only what needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from grpokit.compose.arithmetic import arithmetic
from grpokit.compose.asked import as_asked, columns_asked
from grpokit.compose.data import open_dataset
from grpokit.compose.difficulty import difficulty_problems
from grpokit.compose.dimensions import parameters, read_dimensions
from grpokit.compose.footprint import estimate
from grpokit.compose.lengths import check_lengths
from grpokit.compose.memory import format_bytes
from grpokit.compose.prompts import make_prompt
from grpokit.compose.records import component_records
from grpokit.compose.resources import (
    available_memory,
    disk_forecast,
    environment,
    free_disk,
    gpu_memory,
)
from grpokit.compose.rules import Facts, advise
from grpokit.compose.stale import stale_problems
from grpokit.compose.trials import Trials, remarks, try_rewards
from grpokit.compose.watchers import callback_problems
from grpokit.errors import ComponentError, GrpokitError
from grpokit.registry.resolve import resolve
from grpokit.scoring.facts import needs_model
from grpokit.scoring.scorer import Scorer, scoring_options, setups
from grpokit.spec.components import BackendSpec, ModelSpec
from grpokit.spec.contracts import Dataset, Preflight, Problem
from grpokit.spec.flow import Prompt
from grpokit.spec.plan import ColumnUse, MemoryEstimate, Plan
from grpokit.spec.recipe import DatasetSection, RewardSection

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.spec.recipe import Recipe

__all__ = ["Draft", "Inspect", "needs_reference"]

Inspect = Callable[[Scorer, Sequence[Prompt], str], None]
"""Gets the running rewards, the first prompts, and the way to write an answer that paid best."""
"""Looks at the rewards while their workers run."""

ROWS = 64
"""Rows that the plan looks at."""
PROCESS = 2**30
"""Bytes that Python and its libraries take beside the model."""


def needs_reference(recipe: Recipe, settings: dict[str, dict[str, Any]] | None = None) -> bool:
    """Whether the run keeps a reference policy: some part has a ``beta`` or a ``kl_above`` above 0."""
    known = settings or {}
    uses = {"algorithm": recipe.algorithm.with_} | {
        f"algorithm.parts.{axis}": part.with_ for axis, part in recipe.algorithm.parts.items()
    }
    weights = [
        known.get(key, given).get(name, 0)
        for key, given in uses.items()
        for name in ("beta", "kl_above")
    ]
    return any(isinstance(weight, int | float) and weight > 0 for weight in weights)


def _left_out(skipped: Sequence[str], key: str) -> Iterator[Problem]:
    """A warning where the data set did not take all rows; the recipe allowed that."""
    if not skipped:
        return
    count = len(skipped)
    rows = "1 row is" if count == 1 else f"{count} rows are"
    first = skipped[0] if count == 1 else f"the first is {skipped[0]}"
    yield Problem(
        level="warning",
        fact=f"{rows} left out: {first}",
        remedy=f"repair the data; `{key}.with.on_bad_row: error` tells of every such row",
        code="P212",
        key=key,
    )


@dataclass
class Draft:
    """A recipe, the catalog, and what was found so far."""

    loaded: Loaded
    catalog: Catalog
    findings: list[Problem] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    inspect: Inspect | None = None

    @property
    def recipe(self) -> Recipe:
        return self.loaded.recipe

    @cached_property
    def asked(self) -> Recipe:
        """The recipe with the questions and tokens that a step really asks."""
        return as_asked(self.recipe, self.catalog)

    def finish(self) -> Plan:
        recipe = self.recipe
        self.findings += [
            Problem(level="info", fact=note.message, remedy=note.remedy, code=note.code)
            for note in self.loaded.notes
        ]
        components, missing = component_records(self.loaded, self.catalog)
        self.findings += missing
        preflight = self._preflight()
        dataset, prompts = self._data(recipe.dataset, "dataset", "P201")
        self.columns = dataset.columns if dataset else ()
        self.findings += self._missing_columns() if dataset else []
        rendered, lengths = self._render(preflight, prompts)
        uses, trials = self._rewards(recipe.rewards, "rewards", dataset, prompts)
        eval_rows = self._held_out()
        memory, available = self._memory(preflight, max(lengths, default=None))
        disk, free = self._disk(preflight)
        numbers = arithmetic(self.asked, dataset.size if dataset else None)
        facts = Facts(
            recipe=recipe,
            arithmetic=numbers,
            parameters=self._parameters(preflight),
            eval_rows=eval_rows,
        )
        self.findings += [*difficulty_problems(recipe), *advise(facts)]
        for problems in (stale_problems, callback_problems):
            self.findings += problems(recipe, self.catalog)
        order = {"error": 0, "warning": 1, "info": 2}
        return Plan(
            recipe=recipe,
            name=self.loaded.name,
            components=components,
            arithmetic=numbers,
            memory=memory,
            trials=tuple(trials.trials),
            rendered=rendered,
            rendered_tokens=lengths[0] if lengths else None,
            findings=tuple(sorted(self.findings, key=lambda p: order.get(p.level, 2))),
            environment={**environment(), **preflight.versions},
            dataset_fingerprint=dataset.fingerprint if dataset else "",
            columns=self.columns,
            uses=uses,
            way=trials.way,
            device=preflight.device,
            notes=preflight.notes,
            memory_available=available,
            disk=disk,
            disk_free=free,
        )

    def _add(self, error: GrpokitError, code: str, key: str) -> None:
        fact = f"{error.place}: {error.fact}" if error.place else error.fact
        found = Problem(level="error", fact=fact, remedy=error.remedy, code=code, key=key)
        if found not in self.findings:
            self.findings.append(found)

    def _preflight(self) -> Preflight:
        try:
            entry = self.catalog.find("backend", self.recipe.backend.use)
            spec = cast("BackendSpec", entry.spec)
            self.findings += self._versions(entry)
            if not spec.preflight:
                return Preflight()
            found: Preflight = resolve(spec.preflight, entry)(self.recipe)
        except GrpokitError as error:
            self._add(error, "P210", "backend")
            return Preflight()
        self.findings += found.problems
        return found

    def _versions(self, entry: Entry) -> tuple[Problem, ...]:
        """Installed versions that do not run together, as far as this backend uses them."""
        from grpokit.versions.conflicts import version_problems  # reads metadata, takes a moment

        settings = self.recipe.backend.with_
        return version_problems(entry.spec.name, entry.plugin.distribution, settings)

    def _data(
        self, section: DatasetSection, key: str, code: str
    ) -> tuple[Dataset | None, list[Prompt]]:
        """The data set, and the prompts of its first rows."""
        try:
            dataset = open_dataset(self.catalog, section)
            count = ROWS if dataset.size is None else min(ROWS, dataset.size)
            rows = [dataset[index] for index in range(count)]
        except GrpokitError as error:
            self._add(error, "P210" if isinstance(error, ComponentError) else code, key)
            return None, []
        self.findings += _left_out(dataset.skipped, key)
        prompts = []
        for index, row in enumerate(rows):
            try:
                prompts.append(make_prompt(self.recipe.prompt, row, index))
            except GrpokitError as error:
                self._add(error, "P202" if key == "dataset" else code, "prompt")
                break
        return dataset, prompts

    def _render(self, preflight: Preflight, prompts: list[Prompt]) -> tuple[str, list[int]]:
        """The first prompt as the model will read it, and the length of each in tokens."""
        if not prompts:
            return "", []
        if preflight.render is None:
            text = "\n".join(f"[{m['role']}] {m['content']}" for m in prompts[0].messages)
            return text, []
        try:
            texts = [preflight.render(prompt.messages) for prompt in prompts]
        except GrpokitError as error:
            self._add(error, "P206", "model")
            return "", []
        lengths = [preflight.count(text) for text in texts] if preflight.count else []
        self.findings += check_lengths(self.asked, preflight.dimensions, lengths)
        return texts[0], lengths

    def _rewards(
        self,
        sections: list[RewardSection],
        key: str,
        dataset: Dataset | None,
        prompts: list[Prompt],
    ) -> tuple[tuple[ColumnUse, ...], Trials]:
        """Columns against what each reward asks for, then each reward on real rows."""
        if dataset is None:
            return (), Trials()
        recipe = self.recipe
        try:
            found = setups(self.catalog, sections)
            scorer = Scorer(found, **scoring_options(recipe.scoring))
            with scorer:
                columns = dataset.columns
                missing = scorer.problems(columns)
                uses = tuple(
                    ColumnUse(
                        reward=name,
                        asks=(*asked.required, *asked.optional),
                        columns=() if asked.everything else asked.columns(columns),
                        missing=asked.missing(columns),
                    )
                    for name, asked in scorer.asked().items()
                )
                self.findings += [replace(each, code="P203") for each in missing]
                if missing or key != "rewards":
                    return uses, Trials()
                self.findings += remarks(found)
                trials = self._try(scorer, prompts)
                if self.inspect and not any(p.level == "error" for p in trials.problems):
                    self.inspect(scorer, prompts, trials.way)
        except GrpokitError as error:
            self._add(error, "P210" if isinstance(error, ComponentError) else "P204", key)
            return (), Trials()
        self.findings += trials.problems
        return uses, trials

    def _try(self, scorer: Scorer, prompts: list[Prompt]) -> Trials:
        """The rewards on real rows, but for those that need the policy, which is not open."""
        usable = [prompt for prompt in prompts if prompt.row.get("answer") is not None]
        rest = [setup for setup in scorer.setups if not needs_model(setup.entry)]
        if not usable or not rest:
            return Trials()
        if not scorer.measures:
            return try_rewards(self.recipe, usable, scorer)
        with Scorer(rest, **scoring_options(self.recipe.scoring)) as some:
            return try_rewards(self.recipe, usable, some, whole=False)

    def _missing_columns(self) -> list[Problem]:
        """Columns that the algorithm asks for, where only the opened data set knows its own."""
        return [
            Problem(
                level="error",
                fact=f"{key} asks for the column `{column}`; the data set has "
                f"{', '.join(self.columns)}",
                remedy=f"map it with dataset.columns: {{{column}: EXISTING}}, or name another",
                code="P203",
                key=key,
            )
            for key, columns in columns_asked(self.recipe, self.catalog).items()
            for column in columns
            if column not in self.columns
        ]

    def _held_out(self) -> int | None:
        """Opens the held-out data set as far as an evaluation will need it; its size."""
        section = self.recipe.eval
        if section.dataset is None:
            return None
        dataset, prompts = self._data(section.dataset, "eval.dataset", "P211")
        if dataset is None or not prompts:
            return None
        if section.rewards is not None or set(dataset.columns) != set(self.columns):
            self._rewards(section.rewards or self.recipe.rewards, "eval.rewards", dataset, prompts)
        return dataset.size

    def _parameters(self, preflight: Preflight) -> int | None:
        counted = preflight.dimensions.get("parameters")
        if isinstance(counted, int) and counted:
            return counted
        dims = read_dimensions(preflight.dimensions)
        if dims is not None:
            return parameters(dims)
        models = self.catalog.matches("model", self.recipe.model.id)
        return cast("ModelSpec", models[0].spec).parameters or None if len(models) == 1 else None

    def _memory(
        self, preflight: Preflight, prompt_tokens: int | None
    ) -> tuple[MemoryEstimate | None, int | None]:
        on_cpu = "cuda" not in preflight.device.lower()
        gpu = None if on_cpu else gpu_memory()
        available = available_memory() if on_cpu else gpu and gpu.free
        found = estimate(
            self.asked,
            preflight.dimensions,
            facts=preflight.memory,
            prompt_tokens=prompt_tokens,
            needs_reference=needs_reference(self.recipe, self.loaded.settings),
            shared_prefix=preflight.shared_prefix,
            device=gpu and gpu.total,
        )
        if found is None:
            return None, available
        if found.shortage:
            remedy = "give the engine a larger share in backend.with, or take a smaller model"
            self._short(found.shortage, remedy, "backend.with")
        processes = self.recipe.train.processes if on_cpu else 1  # each has a GPU of its own
        needed = (found.peak + (PROCESS if on_cpu else 0)) * processes
        if available is not None and needed > available:
            share = ", a smaller share for the engine" if found.parts.get("engine") else ""
            self._short(
                f"about {format_bytes(needed)} of memory are needed, "
                f"{format_bytes(available)} are free",
                f"--set optim.micro_batch=1, --set model.gradient_checkpointing=true{share}, "
                "or a smaller rollout.max_tokens",
                "optim.micro_batch",
            )
        return found, available

    def _short(self, fact: str, remedy: str, key: str) -> None:
        self.findings.append(
            Problem(level="warning", fact=fact, remedy=remedy, code="P208", key=key)
        )

    def _disk(self, preflight: Preflight) -> tuple[dict[str, int], int | None]:
        parts = dict(disk_forecast(self.asked, read_dimensions(preflight.dimensions)))
        free = free_disk(Path(self.recipe.train.out))
        needed = sum(parts.values())
        if free is not None and needed > free:
            sure = needed - parts.get("rollouts", 0) > free
            self.findings.append(
                Problem(
                    level="error" if sure else "warning",
                    fact=f"the run may write {format_bytes(needed)}, {format_bytes(free)} are free",
                    remedy="free disk space, --set train.out=FOLDER, --set train.keep=1 "
                    "or --set train.save_rollouts=false",
                    code="P209",
                    key="train.out",
                )
            )
        return parts, free
