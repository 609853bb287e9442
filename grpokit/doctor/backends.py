"""Which backends can run here: each one's own preflight on a small recipe, and the version table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from grpokit.doctor.imports import import_problems
from grpokit.errors import GrpokitError
from grpokit.registry.resolve import resolve
from grpokit.spec.components import BackendSpec, ModelSpec
from grpokit.spec.contracts import Preflight, Problem
from grpokit.spec.recipe import Recipe
from grpokit.versions.conflicts import conflicts_of
from grpokit.versions.constraints import install_words

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.versions.installed import Installed
    from grpokit.versions.table import Table, VersionSet

__all__ = ["BackendState", "preflight_of", "small_recipe", "try_backends"]

MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True, kw_only=True)
class BackendState:
    """What one backend can do here.

    Attributes:
        name: as a recipe writes it, or the name of a version set of it (``vllm``).
        use: what stands in a recipe.
        runs: whether the small recipe could run.
        problems: why not, and what else its preflight says.
        install: the command that says how to install it; empty for foreign backends.
    """

    name: str
    use: str
    distribution: str
    summary: str
    installed: bool
    runs: bool
    device: str = ""
    problems: tuple[Problem, ...] = ()
    install: str = ""


def small_recipe(backend: str, model: str = "", settings: dict[str, Any] | None = None) -> Recipe:
    """A recipe that asks for nothing special; only its backend and its model are looked at."""
    data = {
        "grpokit": 1,
        "model": {"id": model or MODEL},
        "dataset": {"use": "arithmetic"},
        "rewards": [{"use": "number"}],
        "rollout": {"prompts": 2, "group": 4, "max_tokens": 16},
        "backend": {"use": backend, "with": settings or {}},
    }
    return Recipe.model_validate(data)


def preflight_of(entry: Entry, recipe: Recipe) -> Preflight:
    """A backend's preflight; what it raises becomes a problem."""
    spec = cast("BackendSpec", entry.spec)
    if not spec.preflight:
        return Preflight()
    try:
        found: Preflight = resolve(spec.preflight, entry)(recipe)
    except GrpokitError as error:
        fact = f"{error.place}: {error.fact}" if error.place else error.fact
        return Preflight(problems=(Problem(level="error", fact=fact, remedy=error.remedy),))
    except Exception as error:  # noqa: BLE001  (code of a plugin: the doctor still has others to see)
        fact = f"the preflight of {entry.origin} failed: {type(error).__name__}: {error}"
        remedy = "report it to the plugin's author"
        return Preflight(problems=(Problem(level="error", fact=fact, remedy=remedy),))
    return found


def try_backends(
    catalog: Catalog, table: Table, installed: Installed, *, imports: bool = False
) -> tuple[BackendState, ...]:
    """First-party backends by the table, then everybody else's."""
    model = _model(catalog)
    entries = {
        (entry.spec.name, entry.plugin.distribution): entry for entry in catalog.entries("backend")
    }
    found: list[tuple[BackendState, list[str]]] = []
    for chosen in table.sets.values():
        entry = entries.get((chosen.backend, chosen.distribution))
        state = _of_set(chosen, entry, catalog, table, installed, model)
        names = [name.replace("-", "_") for name in chosen.needs]
        found.append((state, [*names, _module(entry)] if entry else names))
    ours = {(chosen.backend, chosen.distribution) for chosen in table.sets.values()}
    found += [
        (_foreign(entry, model), [_module(entry)])
        for key, entry in entries.items()
        if key not in ours
    ]
    return tuple(_imported(state, names) if imports else state for state, names in found)


def _module(entry: Entry) -> str:
    return entry.spec.target.partition(":")[0]


def _imported(state: BackendState, modules: list[str]) -> BackendState:
    """The same, unless its packages cannot be imported; of what cannot run anyway nothing is tried."""
    if not state.runs or not (problems := import_problems(modules)):
        return state
    return replace(state, runs=False, problems=(*state.problems, *problems))


def _model(catalog: Catalog) -> str:
    """A small catalogued model: the quickstart's, else the smallest there is."""
    specs = [cast("ModelSpec", entry.spec) for entry in catalog.entries("model")]
    if not specs or any(spec.name == MODEL for spec in specs):
        return MODEL
    return min(specs, key=lambda spec: spec.parameters).name


def _of_set(
    chosen: VersionSet,
    entry: Entry | None,
    catalog: Catalog,
    table: Table,
    installed: Installed,
    model: str,
) -> BackendState:
    absent = [name for name in chosen.needs if not _is_here(name, installed)]
    missing = [_missing(chosen, absent)] if absent else []
    problems = [_absent(chosen, catalog, absent)] if entry is None else missing
    device = ""
    if entry is not None and not missing:
        found = preflight_of(entry, small_recipe(entry.id, model, dict(chosen.switch)))
        problems += [*found.problems, *conflicts_of([chosen], table, installed)]
        device = found.device
    return BackendState(
        name=chosen.name,
        use=f"backend: {chosen.use}",
        distribution=chosen.distribution,
        summary=chosen.summary,
        installed=entry is not None and not missing,
        runs=not any(problem.level == "error" for problem in problems),
        device=device,
        problems=tuple(problems),
        install=install_words(chosen),
    )


def _absent(chosen: VersionSet, catalog: Catalog, absent: list[str]) -> Problem:
    """The distribution is not installed, or it is and cannot be loaded."""
    for record in catalog.plugins:
        if record.distribution == chosen.distribution:
            return Problem(
                level="error",
                fact=f"{record.distribution} {record.version} is {record.state}: {record.reason}",
                remedy="`grpokit plugins list` says more",
            )
    return _missing(chosen, [chosen.distribution, *absent])


def _missing(chosen: VersionSet, absent: list[str]) -> Problem:
    return Problem(
        level="error",
        fact=f"not installed: {', '.join(absent)}",
        remedy=f"`{install_words(chosen)}` says how",
    )


def _is_here(name: str, installed: Installed) -> bool:
    """A distribution is installed; that of vLLM has another name on a CPU."""
    names = (name, f"{name}-cpu") if name == "vllm" else (name,)
    return any(each in installed.versions for each in names)


def _foreign(entry: Entry, model: str) -> BackendState:
    found = preflight_of(entry, small_recipe(entry.id, model))
    return BackendState(
        name=entry.id,
        use=f"backend: {{use: {entry.id}}}",
        distribution=entry.plugin.distribution,
        summary=entry.spec.summary,
        installed=True,
        runs=not any(problem.level == "error" for problem in found.problems),
        device=found.device,
        problems=found.problems,
    )
