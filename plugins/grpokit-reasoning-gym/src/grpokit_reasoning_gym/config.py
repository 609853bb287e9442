"""Settings of the data set and of the reward."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from grpokit.api import Config

__all__ = ["GymConfig", "ScoreConfig", "TaskConfig"]


class TaskConfig(Config):
    """One task of a mixture."""

    task: str = Field(min_length=1)
    """Name of the task, such as `chain_sum`."""
    weight: float = Field(default=1.0, gt=0)
    """Share of the rows, relative to the other tasks."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The task's own settings, such as `max_terms: 4`."""


class GymConfig(Config):
    """Settings of the data set `tasks`."""

    task: str | None = Field(default=None, min_length=1)
    """Name of the task, such as `chain_sum`; or several under `tasks`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The task's own settings, such as `max_terms: 4`. What they are: reasoning-gym's documentation."""
    tasks: list[TaskConfig] = Field(default_factory=list)
    """A mixture: each `{task: ..., weight: ..., settings: {...}}`."""
    split: Literal["train", "test"] = "train"
    """`test` holds the questions that `train` never shows."""
    size: int = Field(default=1000, ge=1, le=10_000_000)
    """Rows. They are made when they are asked for."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of all questions in the test split. Give training and evaluation the same value."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Another seed is other rows."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.task is None) == (not self.tasks):
            raise ValueError("give either task or tasks")
        if self.tasks and self.settings:
            raise ValueError("settings stand beside each of the tasks")
        return self

    def mixture(self) -> list[TaskConfig]:
        """The tasks, one or several."""
        if self.task is None:
            return self.tasks
        return [TaskConfig(task=self.task, settings=self.settings)]


class ScoreConfig(Config):
    """Settings of the reward `score`."""

    extract: Literal["tag", "boxed", "whole"] = "tag"
    """Where the answer stands: in the last `<answer>` tag, in the last `\\boxed{}`, or in the whole completion without its thinking."""
    partial: bool = False
    """Also pay what a checker gives for a wrong answer: a part for one that contains the right one among others, a little for trying. Off, an answer is right (1) or wrong (0)."""
