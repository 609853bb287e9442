"""Rows of reasoning-gym's tasks.

The library makes entry i of seed s from the number s + i alone, so that neighbouring seeds share
nearly all their rows: two splits by seed would be one data set. Here a hash of the question decides
to which split it belongs, and entry numbers are drawn again until one is of the split.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Any

from grpokit.api import PreflightError, derive_seed
from grpokit_reasoning_gym import gym
from grpokit_reasoning_gym.config import GymConfig, TaskConfig
from grpokit_reasoning_gym.guard import shown_answer

__all__ = ["GymDataset", "held_out"]

ATTEMPTS = 200
SEEDS = 2**31
REMEMBERED = 4096


def held_out(question: str, share: float) -> bool:
    """Whether a question belongs to the test split: a hash of the question and of nothing else."""
    return derive_seed("reasoning-gym held-out", question) < share * 2**63


class GymDataset:
    """Rows with ``question``, ``answer`` (one right answer as text, empty where none is known), ``task``
    and ``entry``, the place that the reward makes the entry from again.

    Row i is a pure function of the settings and i.

    Raises:
        PreflightError: an unknown task, settings that it refuses, or no question in the split.
    """

    columns = ("question", "answer", "task", "entry")

    def __init__(self, config: GymConfig) -> None:
        self.config = config
        self.size: int | None = config.size
        self._mixture = config.mixture()
        self._bounds = list(itertools.accumulate(task.weight for task in self._mixture))
        self._rows: dict[int, Mapping[str, Any]] = {}
        for task in self._mixture:
            gym.check_settings(task.task, task.settings)
        text = f"reasoning-gym {gym.version()} {config.model_dump_json()} {self[0]['question']}"
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        if not 0 <= index < self.config.size:
            raise IndexError(f"row {index} of {self.config.size}")
        if index not in self._rows:
            if len(self._rows) >= REMEMBERED:
                self._rows.pop(next(iter(self._rows)))
            self._rows[index] = self._make(index)
        return self._rows[index]

    def _task(self, index: int) -> TaskConfig:
        point = (
            derive_seed(self.config.seed, "reasoning-gym task", index) / 2**63 * self._bounds[-1]
        )
        found = (
            task for task, bound in zip(self._mixture, self._bounds, strict=True) if point < bound
        )
        return next(found, self._mixture[-1])

    def _make(self, index: int) -> Mapping[str, Any]:
        task = self._task(index)
        settings = json.dumps(task.settings, sort_keys=True)
        for attempt in range(ATTEMPTS):
            seed = (
                derive_seed(self.config.seed, "reasoning-gym", task.task, settings, attempt) % SEEDS
            )
            place = {
                "task": task.task,
                "settings": task.settings,
                "seed": seed,
                "size": self.config.size,
                "index": index,
            }
            made, entry = gym.entry_at(place)
            question = str(entry["question"])
            if held_out(question, self.config.held_out) == (self.config.split == "test"):
                answer = shown_answer(made, entry)
                return {"question": question, "answer": answer, "task": task.task, "entry": place}
        raise PreflightError(
            f"after {ATTEMPTS} tries no question of row {index} is in the split {self.config.split!r}",
            place=f"data set reasoning-gym/tasks, task {task.task}",
            remedy="its settings leave too few different questions; widen them",
        )
