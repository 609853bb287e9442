"""Where the authors' code looks for an answer, as scanners that pass over a text once.

Their regular expressions are matched here with ``str.find``: a completion of 100,000 characters costs
a millisecond, whatever it holds.
"""

from __future__ import annotations

import re
from itertools import islice

__all__ = ["gold_answer", "has_form", "single_number", "tagged_answer"]

NUMBER = re.compile(r"-?\d*\.?\d+")
"""A number of the authors. Each character is looked at a bounded number of times."""
OPEN, JOINT, CLOSE = "<think>", "</think>\n<answer>", "</answer>"


def has_form(text: str, *, legacy: bool = False) -> bool:
    r"""Whether the text is ``<think>...</think>``, one line break, ``<answer>...</answer>``.

    The legacy form is that of ``^<think>.*?</think>\n<answer>.*?</answer>$`` with ``DOTALL`` and
    ``MULTILINE``, whose ``$`` also matches before a line break: further lines may follow. Otherwise the
    text is stripped and ends with the tag. Both allow more tags inside.
    """
    text = text if legacy else text.strip()
    if not text.startswith(OPEN):
        return False
    # The first joint leaves the most room for what has to follow.
    joint = text.find(JOINT, len(OPEN))
    if joint < 0:
        return False
    after = joint + len(JOINT)
    # A closing tag cannot begin within the joint, so one at the end stands behind it.
    return text.endswith(CLOSE) or (legacy and text.find(f"{CLOSE}\n", after) >= 0)


def tagged_answer(text: str) -> str | None:
    """What stands behind the last ``<answer>`` up to its ``</answer>``, without commas.

    None if a tag is missing, or the answer is the prompt's own ``...``.
    """
    _, found, rest = text.rpartition("<answer>")
    content, closed, _ = rest.partition(CLOSE)
    if not (found and closed):
        return None
    answer = content.strip().replace(",", "")
    return None if answer == "..." else answer


def gold_answer(solution: str) -> str | None:
    """The answer of a GSM8K solution: what stands behind its first ``####``, without commas."""
    _, found, rest = solution.partition("####")
    return rest.partition("####")[0].strip().replace(",", "") if found else None


def single_number(text: str) -> float | None:
    """The number of a text that has exactly one; ``20-24`` has two, 20 and -24."""
    found = [match.group() for match in islice(NUMBER.finditer(text), 2)]
    return float(found[0]) if len(found) == 1 else None
