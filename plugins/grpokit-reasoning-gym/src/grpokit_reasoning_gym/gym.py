"""The door to reasoning-gym. The library is imported when a task is first made.

An entry is made again from its place (task, settings, seed, size, index), so that a row carries
plain data and the checker, in another process, sees the entry itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from grpokit.api import PreflightError

__all__ = ["check_settings", "entry_at", "hash_seed_matters", "library", "task_at", "version"]

HASH_SEED_TASKS = frozenset(
    {"isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"}
)
"""They walk through sets of texts, whose order differs from process to process."""


def library() -> Any:
    """The library's module of tasks; the first call takes seconds, since it imports them all."""
    try:
        from reasoning_gym import factory
    except ImportError as error:
        raise PreflightError(
            f"reasoning-gym cannot be imported: {error}",
            place="reasoning-gym/tasks and reasoning-gym/score",
            remedy="pip install 'reasoning-gym>=0.1.25,<0.2'",
        ) from error
    return factory


def version() -> str:
    """The installed version: another one may make other questions."""
    from importlib.metadata import version as installed

    return installed("reasoning-gym")


def hash_seed_matters(task: str) -> bool:
    """Whether the task's questions would differ in another process of this run."""
    return task in HASH_SEED_TASKS and not os.environ.get("PYTHONHASHSEED", "").isdigit()


def check_settings(task: str, settings: Mapping[str, Any]) -> None:
    """Raises PreflightError for an unknown task, an unknown setting or a value that it refuses."""
    place = f"data set reasoning-gym/tasks, task {task}"
    registered = library().DATASETS
    known = [name for name in registered if name != "composite"]
    if task not in known:
        raise PreflightError(
            f"reasoning-gym {version()} has no such task",
            place=place,
            remedy="write a mixture as tasks: [...]" if task == "composite" else _near(task, known),
        )
    if hash_seed_matters(task):
        raise PreflightError(
            "its questions depend on Python's hash seed, which differs from process to process",
            place=place,
            remedy="start with PYTHONHASHSEED=0 in the environment, or choose another task",
        )
    names = {field.name for field in dataclasses.fields(registered[task][1])} - {"seed", "size"}
    for name in settings:
        if name not in names:
            raise PreflightError(
                f"it has no setting {name!r}", place=place, remedy=_near(name, names)
            )
    try:
        task_at(task, json.dumps(dict(settings), sort_keys=True), 0, 2)
    except (AssertionError, TypeError, ValueError) as error:
        raise PreflightError(
            f"it refuses these settings: {error}", place=place, remedy="correct them"
        ) from error


def _near(name: str, known: Sequence[str] | set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose among {', '.join(sorted(known))}"


@lru_cache(maxsize=64)
def task_at(task: str, settings: str, seed: int, size: int) -> Any:
    """A task with these settings (JSON text): entries by index, and ``score_answer``."""
    values = {key: _tuples(value) for key, value in json.loads(settings).items()}
    return library().create_dataset(task, seed=seed, size=size, **values)


def _tuples(value: Any) -> Any:
    """The library's settings are tuples where a recipe has lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def entry_at(place: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(task, entry) of a row's column ``entry``."""
    settings = json.dumps(dict(place["settings"]), sort_keys=True)
    made = task_at(place["task"], settings, int(place["seed"]), int(place["size"]))
    return made, _entry(
        place["task"], settings, int(place["seed"]), int(place["size"]), place["index"]
    )


@lru_cache(maxsize=4096)
def _entry(task: str, settings: str, seed: int, size: int, index: int) -> dict[str, Any]:
    entry: dict[str, Any] = task_at(task, settings, seed, size)[index]
    return entry
