"""What this plugin registers. It names code and imports none of it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

from grpokit.api import DatasetSpec, PromptSpec, RewardSpec, hookimpl

GRPOKIT_HOOK_API = 1


@hookimpl
def grpokit_datasets() -> Iterable[DatasetSpec]:
    return [
        DatasetSpec(
            name="tasks",
            summary="Questions of one or several of reasoning-gym's tasks, with a held-out split.",
            target="grpokit_reasoning_gym.dataset:GymDataset",
            config="grpokit_reasoning_gym.config:GymConfig",
            columns=("question", "answer", "task", "entry"),
        )
    ]


@hookimpl
def grpokit_prompts() -> Iterable[PromptSpec]:
    return [
        PromptSpec(
            name="answer-tag",
            summary="The question; reasoning, then only the answer in <answer> tags.",
            system=(
                "Reason step by step. Then write only the final answer, in the form that the question "
                "asks for, between <answer> and </answer>."
            ),
        )
    ]


@hookimpl
def grpokit_rewards() -> Iterable[RewardSpec]:
    return [
        RewardSpec(
            name="score",
            summary="What the task's own checker says of the answer, without running it as code.",
            target="grpokit_reasoning_gym.score:build",
            config="grpokit_reasoning_gym.config:ScoreConfig",
            columns=("question", "entry"),
            answer="grpokit_reasoning_gym.score:answer",
        )
    ]


@hookimpl
def grpokit_recipes() -> Iterable[Traversable]:
    return [files("grpokit_reasoning_gym") / "recipes"]
