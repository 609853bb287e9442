"""The prompt templates. A brace that the model reads is written twice."""

from __future__ import annotations

from grpokit.api import PromptSpec

__all__ = ["PROMPTS"]

_OPENING = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with "
    "the answer. "
)
_BOX = (
    "And the answer should be of the following format: 'Therefore, the final answer is: "
    "$\\boxed{{{{ANSWER}}}}$. I hope it is correct' (without quotes) where ANSWER is just the final "
    "number or expression that solves the problem. "
)
_TAGS = (
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
    "respectively, i.e., <think> reasoning process here </think>\n<answer> answer here </answer>."
)
_WORKING_OUT = (
    "You are given a problem.\n"
    "Think about the problem and provide your working out.\n"
    "Place it between <start_working_out> and <end_working_out>.\n"
    "Then, provide your solution between <SOLUTION></SOLUTION>"
)
_REASONING = (
    "\nRespond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>\n"
)
_SHOTS = (
    (
        "A shelf holds 4 boxes with 6 pencils each. Tom takes 5 pencils. How many pencils are left?",
        "The boxes hold 4 * 6 = 24 pencils.\nAfter Tom took 5, 24 - 5 = 19 pencils are left.\n#### 19",
    ),
    (
        (
            "Ana reads 12 pages on Monday and half as many on Tuesday. How many pages does she read on both "
            "days?"
        ),
        "On Tuesday she reads 12 / 2 = 6 pages.\nOn both days she reads 12 + 6 = 18 pages.\n#### 18",
    ),
    (
        "A ticket costs $15, and children pay a third of it. What do 2 adults and 3 children pay?",
        (
            "A child pays 15 / 3 = 5 dollars.\nThe adults pay 2 * 15 = 30 dollars, and the children "
            "3 * 5 = 15 dollars.\nTogether they pay 30 + 15 = 45 dollars.\n#### 45"
        ),
    ),
    (
        (
            "A tank of 200 litres is a quarter full. It is filled at 10 litres a minute. How many minutes "
            "does it take until it is full?"
        ),
        (
            "There are 200 / 4 = 50 litres in it.\nIt takes 200 - 50 = 150 litres more.\n"
            "That takes 150 / 10 = 15 minutes.\n#### 15"
        ),
    ),
)

PROMPTS = (
    PromptSpec(
        name="qwen-boxed",
        summary="Qwen's sentence after the question: reason step by step, the answer in \\boxed{}.",
        user="{question}\nPlease reason step by step, and put your final answer within \\boxed{{}}.",
    ),
    PromptSpec(
        name="gsm8k-hash",
        summary="verl's sentence after the question: the answer after ####.",
        user='{question} Let\'s think step by step and output the final answer after "####".',
    ),
    PromptSpec(
        name="cppo-gsm8k",
        summary="CPPO on GSM8K (arXiv 2503.22342): think tags, a line break, answer tags.",
        system=_OPENING + _TAGS,
    ),
    PromptSpec(
        name="cppo-math",
        summary="CPPO on MATH (arXiv 2503.22342): think and answer tags, the answer in \\boxed{}.",
        # The model reads \boxed{{ANSWER}}, with two braces, and a blank at the end, as released.
        system=_OPENING + _BOX + _TAGS + " ",
    ),
    PromptSpec(
        name="working-out",
        summary="Unsloth's notebooks: working out between its tags, then <SOLUTION></SOLUTION>.",
        system=_WORKING_OUT,
    ),
    PromptSpec(
        name="reasoning-answer",
        summary="The GSM8K demonstration of W. Brown: <reasoning> and <answer>, each on lines of its own.",
        system=_REASONING,
    ),
    PromptSpec(
        name="gsm8k-few-shot",
        summary="Four worked examples as earlier turns, each ending with `#### answer`; for base models.",
        system="Solve the problem step by step. End with a line that has #### and the final number.",
        examples=_SHOTS,
    ),
)
