"""What core's rewards say about themselves."""

from __future__ import annotations

from grpokit.api import RewardSpec

__all__ = ["SPECS"]

_HERE = "grpokit.builtins.rewards"

SPECS = (
    RewardSpec(
        name="number",
        summary="The answer equals the gold number, exactly.",
        target=f"{_HERE}.number:number",
        config=f"{_HERE}.number:NumberConfig",
        columns=("answer",),
        answer=f"{_HERE}.readers:number_answer",
        lenient=(("from", ["last"]),),
    ),
    RewardSpec(
        name="exact",
        summary="The answer equals the gold text.",
        target=f"{_HERE}.exact:exact",
        config=f"{_HERE}.exact:ExactConfig",
        columns=("answer",),
        answer=f"{_HERE}.readers:exact_answer",
        lenient=(("from", ["boxed", "answer", "hash", "whole"]), ("ignore_case", True)),
    ),
    RewardSpec(
        name="contains",
        summary="The gold text, or a given one, occurs in the completion.",
        target=f"{_HERE}.contains:contains",
        config=f"{_HERE}.contains:ContainsConfig",
    ),
    RewardSpec(
        name="format",
        summary="The completion has given tags, a box, or matches a pattern.",
        target=f"{_HERE}.format:format_reward",
        config=f"{_HERE}.format:FormatConfig",
        form=True,
    ),
    RewardSpec(
        name="length",
        summary="The completion's length lies in a range.",
        target=f"{_HERE}.length:length",
        config=f"{_HERE}.length:LengthConfig",
        pays=("length",),
    ),
)
