"""What the data sets say about themselves."""

from __future__ import annotations

from grpokit.api import DatasetSpec

__all__ = ["DATASETS"]

_OPEN = "grpokit_math.datasets.official"
_CONFIG = "grpokit_math.datasets.config"

DATASETS = (
    DatasetSpec(
        name="gsm8k",
        summary="Grade school word problems: 7,473 to train, 1,319 to test; answers are numbers.",
        target=f"{_OPEN}:gsm8k",
        config=f"{_CONFIG}:Gsm8kConfig",
        columns=("question", "answer", "solution", "id"),
    ),
    DatasetSpec(
        name="math",
        summary="Competition problems of seven subjects: 7,500 to train, 5,000 to test.",
        target=f"{_OPEN}:math",
        config=f"{_CONFIG}:MathConfig",
        columns=("question", "answer", "solution", "id", "problem", "level", "type"),
    ),
    DatasetSpec(
        name="math500",
        summary="500 of MATH's test problems, the usual sample.",
        target=f"{_OPEN}:math500",
        config=f"{_CONFIG}:Math500Config",
        columns=("question", "answer", "solution", "id", "problem", "level", "subject"),
    ),
    DatasetSpec(
        name="aime",
        summary="The 30 problems of an AIME year; answers are integers from 0 to 999.",
        target=f"{_OPEN}:aime",
        config=f"{_CONFIG}:AimeConfig",
        columns=("question", "answer", "solution", "id", "problem", "url"),
    ),
    DatasetSpec(
        name="amc",
        summary="83 problems of the AMC 12 of 2022 and 2023; answers are numbers.",
        target=f"{_OPEN}:amc",
        config=f"{_CONFIG}:AmcConfig",
        columns=("question", "answer", "solution", "id", "problem", "url"),
    ),
)
