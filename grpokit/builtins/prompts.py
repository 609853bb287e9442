"""Core's prompt templates."""

from __future__ import annotations

from grpokit.api import PromptSpec

__all__ = ["SPECS"]

SPECS = (
    PromptSpec(name="plain", summary="The question alone."),
    PromptSpec(
        name="boxed",
        summary="The question, and the order to put the final answer in \\boxed{}.",
        user="{question}\n\nReason step by step, and put the final answer in \\boxed{{}}.",
    ),
    PromptSpec(
        name="hash",
        summary="The question, and the order to end with `#### answer`, as GSM8K's answers do.",
        user=(
            "{question}\n\nReason step by step. Write the final answer on the last line, "
            "after four number signs, like this: #### 42"
        ),
    ),
    PromptSpec(
        name="think-answer",
        summary="Reasoning in <think> tags, then the answer in <answer> tags.",
        system=(
            "First reason about the problem between <think> and </think>. "
            "Then write only the final answer between <answer> and </answer>."
        ),
    ),
)
