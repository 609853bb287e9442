"""What core's data sets say about themselves."""

from __future__ import annotations

from grpokit.api import DatasetSpec

__all__ = ["SPECS"]

_HERE = "grpokit.builtins.datasets"

SPECS = (
    DatasetSpec(
        name="arithmetic",
        summary="Sums, differences and products without end, with a held-out split.",
        target=f"{_HERE}.arithmetic:ArithmeticDataset",
        config=f"{_HERE}.arithmetic:ArithmeticConfig",
        columns=("question", "answer", "problem", "level", "a", "b"),
    ),
    DatasetSpec(
        name="inline",
        summary="Rows that stand in the recipe.",
        target=f"{_HERE}.inline:InlineDataset",
        config=f"{_HERE}.inline:InlineConfig",
    ),
    DatasetSpec(
        name="jsonl",
        summary="A local file with one JSON object a line.",
        target=f"{_HERE}.jsonl:JsonlDataset",
        config=f"{_HERE}.jsonl:JsonlConfig",
    ),
)
