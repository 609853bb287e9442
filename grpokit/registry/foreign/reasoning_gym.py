"""Tasks of Reasoning Gym: ``score_answer(answer, entry)`` of the task, from 0 to 1.

The entry is the row: ``question``, ``answer`` and ``metadata`` (a mapping, or one as JSON text), as
its data sets have them. The answer is taken from the completion; without one the task scores None.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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
        row = dict(given["row"])
        metadata = row.get("metadata")
        if isinstance(metadata, str):
            row["metadata"] = json.loads(metadata)
        return score_answer(answer=find(given["completion"]), entry=row)

    return with_signature(scored, ("completion", "row", "answer"))
