"""What this plugin registers. It names code and imports none of it."""

from __future__ import annotations

from collections.abc import Iterable

from grpokit.api import BackendSpec, RewardSpec, hookimpl

GRPOKIT_HOOK_API = 1


@hookimpl
def grpokit_rewards() -> Iterable[RewardSpec]:
    return [
        RewardSpec(
            name="judge",
            summary="A language model behind an OpenAI-compatible endpoint grades the completion by a rubric.",
            target="grpokit_rewards_model.judge:judge",
            config="grpokit_rewards_model.config:JudgeConfig",
            paid=True,
        ),
        RewardSpec(
            name="reward-model",
            summary="The score of a sequence-classification reward model for the conversation.",
            target="grpokit_rewards_model.scorer:reward_model",
            config="grpokit_rewards_model.scorer:RewardModelConfig",
            range=None,
        ),
    ]


@hookimpl
def grpokit_backends() -> Iterable[BackendSpec]:
    return [
        BackendSpec(
            name="openai",
            summary="An OpenAI-compatible endpoint, for `grpokit eval` alone.",
            target="grpokit_rewards_model.answers:Answers",
            config="grpokit_rewards_model.answers:AnswersConfig",
            preflight="grpokit_rewards_model.answers:preflight",
        ),
    ]
