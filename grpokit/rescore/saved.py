"""``rollouts.jsonl`` a step at a time, as the rewards saw it. A run may have gigabytes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpokit.errors import CheckpointError, PreflightError
from grpokit.spec.flow import Completion, Prompt, Rollout, Sampling

__all__ = ["SavedStep", "read_steps", "rollout_of", "saved_columns"]

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class SavedStep:
    """The groups of one step as they stand in the file; ``end`` is how far it has been read."""

    step: int
    groups: list[dict[str, Any]]
    end: int


def read_steps(path: Path, start: int = 0) -> Iterator[SavedStep]:
    """All steps of a file, from the byte ``start`` on, where one begins. A last line without an end is one that is just being written.

    Raises:
        PreflightError: there is no such file.
        CheckpointError: a line is no saved group; names the line.
    """
    if not path.is_file():
        raise PreflightError(
            "the run saved no rollouts",
            place=str(path),
            remedy="train with train.save_rollouts: true, which is the default",
        )
    groups: list[dict[str, Any]] = []
    end = start
    with path.open("rb") as file:
        file.seek(start)
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            group = _group(line, f"{path}:{number}")
            if groups and group["step"] != groups[0]["step"]:
                yield SavedStep(step=groups[0]["step"], groups=groups, end=end)
                groups = []
            groups.append(group)
            end += len(line)
    if groups:
        yield SavedStep(step=groups[0]["step"], groups=groups, end=end)


def saved_columns(group: Row) -> dict[str, Any]:
    """What the file keeps of a row's columns: its answer."""
    answer = group["prompt"].get("answer")
    return {} if answer is None else {"answer": answer}


def rollout_of(saved: SavedStep, rows: Sequence[Row]) -> Rollout:
    """The step's rollout, with the given columns. Tokens are known by number only."""
    prompts = tuple(
        Prompt(
            id=group["prompt"]["id"],
            index=group["prompt"]["index"],
            row=row,
            messages=tuple(group["prompt"]["messages"]),
        )
        for group, row in zip(saved.groups, rows, strict=True)
    )
    completions = tuple(
        tuple(
            Completion(token_ids=(0,) * one["tokens"], text=one["text"], finish=one["finish"])
            for one in group["completions"]
        )
        for group in saved.groups
    )
    size = max(map(len, completions), default=0)
    return Rollout(
        prompts=prompts,
        prompt_ids=((),) * len(prompts),
        completions=completions,
        sampling=Sampling(group=size, max_tokens=0, step=saved.step),
    )


def _group(line: bytes, place: str) -> dict[str, Any]:
    try:
        group = json.loads(line)
        told = "" if _is_group(group) else "a value has another type than in a saved group"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        told = f"{type(error).__name__}: {error}"
    if told:
        raise CheckpointError(
            f"this line is no saved group: {told}",
            place=place,
            remedy="restore the file; only the run itself may write to it",
        )
    return dict(group)


def _is_group(group: Any) -> bool:
    prompt = group["prompt"]
    return (
        isinstance(group["step"], int)
        and isinstance(prompt["id"], str)
        and isinstance(prompt["index"], int)
        and all(
            isinstance(m["role"], str) and isinstance(m["content"], str) for m in prompt["messages"]
        )
        and all(_is_completion(one) for one in group["completions"])
    )


def _is_completion(one: Any) -> bool:
    scores = [*one["rewards"].values(), one["total"]]
    return (
        isinstance(one["text"], str)
        and isinstance(one["tokens"], int)
        and one["finish"] in ("stop", "length")
        and isinstance(one["advantage"], int | float)
        and isinstance(one.get("errors", {}), dict)
        and all(score is None or isinstance(score, int | float) for score in scores)
    )
