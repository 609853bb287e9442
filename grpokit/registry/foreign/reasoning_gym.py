"""Tasks of Reasoning Gym: ``score_answer(answer, entry)`` of the task, from 0 to 1.

The entry is the row's column ``entry``, or the row itself: ``question``, ``answer`` and ``metadata``,
as its data sets have them (mappings may be JSON text). The answer is taken from the completion; without one the task scores None.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from grpokit.answers.wrappers import last_boxed, last_hash, last_tag
from grpokit.errors import ComponentError
from grpokit.registry.foreign.reference import Reference
from grpokit.registry.foreign.settings import ReasoningGymSettings
from grpokit.registry.foreign.signature import with_signature
from grpokit.registry.output import stdout_to_stderr

__all__ = ["reward"]

_FIND: dict[str, Callable[[str], str | None]] = {
    "tag": lambda text: last_tag(text, "answer"),
    "boxed": last_boxed,
    "hash": last_hash,
    "whole": lambda text: text,
}


def reward(reference: Reference, settings: ReasoningGymSettings) -> Callable[..., Any]:
    """The reward that asks the task."""
    task = reference.attribute
    # The border to foreign code.
    try:
        with stdout_to_stderr():
            import reasoning_gym

            score_answer = reasoning_gym.get_score_answer_fn(task)
    except ImportError as error:
        raise ComponentError(
            f"Reasoning Gym cannot be imported: {error}",
            place=reference.text,
            remedy="pip install reasoning-gym",
        ) from error
    except Exception as error:
        raise ComponentError(
            f"there is no task {task!r}: {error}",
            place=reference.text,
            remedy="`python -c 'import reasoning_gym.factory as f; print(*f.DATASETS)'` lists them",
        ) from error
    find = _FIND[settings.answer]

    def scored(**given: Any) -> Any:
        return score_answer(answer=find(given["completion"]), entry=_entry(given["row"]))

    return with_signature(scored, ("completion", "row"))


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """The data set's entry: the row, or what its column ``entry`` holds."""
    found = row.get("entry")
    found = json.loads(found) if isinstance(found, str) else found
    entry = dict(found if isinstance(found, Mapping) and "metadata" in found else row)
    if isinstance(entry.get("metadata"), str):
        entry["metadata"] = json.loads(entry["metadata"])
    return entry
