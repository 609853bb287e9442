"""A reward and what it reads in a completion, well-behaved or not. Loaded by workers too."""

from __future__ import annotations

import os
import time
from typing import Any


def fine(completion: str, answer: str = "") -> float:
    return float(completion == answer)


def words(completion: str) -> Any:
    """What the completion asks for."""
    if completion == "hang":
        time.sleep(60)
    if completion == "die":
        os._exit(3)
    if completion == "raise":
        raise KeyError("no answer for you")
    if completion == "number":
        return 7
    return completion.strip() or None


def sure(completion: str) -> Any:
    return float(completion)


def asks_more(completion: str, answer: str) -> str:
    return completion + answer
