"""What this plugin registers. It names code and imports none of it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

from grpokit.api import AlgorithmSpec, RewardSpec, hookimpl

GRPOKIT_HOOK_API = 1


@hookimpl
def grpokit_algorithms() -> Iterable[AlgorithmSpec]:
    return [
        AlgorithmSpec(
            name="cppo",
            min_group=2,
            summary="GRPO that trains only on the completions with the largest advantages.",
            target="grpokit_cppo.algorithm:build",
            config="grpokit_cppo.config:CppoConfig",
            needs=frozenset({"logprobs", "custom-loss"}),
            paper="2503.22342",
            formula="GRPO over I_q = the k completions of largest |A_i|, k = G (1 - rate)",
            parts=(
                ("sampler", ("in-order",)),
                ("rollout", ("as-given",)),
                ("aggregate", ("weighted-sum",)),
                ("advantage", ("group-zscore",)),
                ("allocate", ("fixed",)),
                ("select", ("cppo/prune",)),
                ("mask", ("completion-mask",)),
                ("ratio", ("token-ratio",)),
                ("clip", ("clip",)),
                ("correction", ("no-correction",)),
                ("regulariser", ("kl",)),
                ("aggregation", ("token-mean",)),
                ("reset", ("never",)),
            ),
        ),
        AlgorithmSpec(
            name="prune",
            axis="select",
            min_group=2,
            summary="A fixed share of the completions trains, those with the largest advantages.",
            target="grpokit_cppo.prune:build",
            config="grpokit_cppo.config:PruneConfig",
            paper="2503.22342",
            formula="keep the k of largest |A_i|, k = G (1 - rate); or |A_i| >= gamma",
        ),
        AlgorithmSpec(
            name="allocate",
            axis="allocate",
            min_group=2,
            summary="Further questions for the places that pruning frees, at once or until they have a signal.",
            target="grpokit_cppo.allocate:build",
            config="grpokit_cppo.config:AllocationConfig",
            paper="2503.22342",
            formula="P / (1 - rate) questions for P; refill: without those of A = 0",
        ),
    ]


@hookimpl
def grpokit_rewards() -> Iterable[RewardSpec]:
    return [
        RewardSpec(
            name="think-answer-format",
            summary="The completion is a block of think tags, a line break, a block of answer tags.",
            target="grpokit_cppo.rewards:think_answer_format",
            config="grpokit_cppo.rewards:FormConfig",
            form=True,
        ),
        RewardSpec(
            name="gsm8k-accuracy",
            summary="CPPO's reward on GSM8K: 2 for the gold text in the answer tag, 1.5 for its number.",
            target="grpokit_cppo.rewards:gsm8k_accuracy",
            config="grpokit_cppo.rewards:Gsm8kConfig",
            columns=("answer",),
            answer="grpokit_cppo.rewards:gsm8k_answer",
            range=(0.0, 2.0),
        ),
        RewardSpec(
            name="math-accuracy",
            summary="CPPO's reward on MATH: 2 if the box holds the answer that the solution boxes, else 0.",
            target="grpokit_cppo.math_accuracy:math_accuracy",
            config="grpokit_cppo.math_accuracy:MathConfig",
            columns=("solution",),
            answer="grpokit_cppo.math_accuracy:math_answer",
            range=(0.0, 2.0),
        ),
    ]


@hookimpl
def grpokit_recipes() -> Iterable[Traversable]:
    return [files("grpokit_cppo") / "recipes"]
