"""What this plugin registers. It names code and imports none of it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

from grpokit.api import RewardSpec, hookimpl

GRPOKIT_HOOK_API = 1

_HERE = "grpokit_rewards_intrinsic"


@hookimpl
def grpokit_rewards() -> Iterable[RewardSpec]:
    return [
        RewardSpec(
            name="self-certainty",
            summary="How sure the policy was of each token; nothing looks at the answer.",
            caution="no answer is looked at, and a policy can become sure of anything",
            target=f"{_HERE}.certainty:self_certainty",
            config=f"{_HERE}.certainty:SelfCertaintyConfig",
            needs=frozenset({"token-statistics"}),
            range=None,
        ),
        RewardSpec(
            name="reference-probability",
            summary="How probable the reference answer is after the completion's own reasoning.",
            target=f"{_HERE}.reference:reference_probability",
            config=f"{_HERE}.reference:ReferenceConfig",
            continuations=f"{_HERE}.reference:continuations",
            needs=frozenset({"continuations"}),
            columns=("answer",),
            range=None,
        ),
        RewardSpec(
            name="brier",
            summary="The answer is right, and the confidence that the completion states fits that.",
            target=f"{_HERE}.brier:brier",
            config=f"{_HERE}.brier:BrierConfig",
            columns=("answer",),
            answer="grpokit_math.rewards.answer:read_answer",
            confidence=f"{_HERE}.brier:stated_confidence",
            range=None,
        ),
        RewardSpec(
            name="majority-vote",
            summary="The answer is the group's most frequent one; nobody knows whether it is right.",
            caution="no right answer is looked at, and a group can agree on a wrong one",
            target=f"{_HERE}.vote:majority_vote",
            config=f"{_HERE}.vote:MajorityConfig",
        ),
    ]


@hookimpl
def grpokit_recipes() -> Iterable[Traversable]:
    return [files("grpokit_rewards_intrinsic") / "recipes"]
