"""Rows as the files of GSM8K and MATH have them, and folders that a recipe can name in their place."""

from __future__ import annotations

import json
from pathlib import Path

from grpokit.spec.recipe import DatasetSection

__all__ = ["GSM8K", "MATH", "official_folder", "overrides"]

GSM8K = [
    {"question": f"{a} apples and {b} pears?", "answer": f"{a} + {b} = {a + b}\n#### {a + b}"}
    for a, b in ((3, 4), (10, 25), (700, 801), (12, 9))
]
MATH = [
    {
        "problem": f"Simplify {text}.",
        "solution": f"It is $\\boxed{{{text}}}$.",
        "question": f"Simplify {text}.",
        "answer": text,
    }
    for text in ("\\frac{1}{2}", "12", "x^2+1", "-7")
]
CARD = """---
configs:
- config_name: {name}
  data_files:
  - {{split: train, path: train.jsonl}}
  - {{split: test, path: test.jsonl}}
---
"""


def official_folder(folder: Path, name: str) -> Path:
    """A folder ``gsm8k`` or ``math`` with both splits, for the data sets of the hub and of a path."""
    rows, config = (GSM8K, "main") if name == "gsm8k" else (MATH, "default")
    place = folder / name
    place.mkdir(parents=True)
    (place / "README.md").write_text(CARD.format(name=config))
    for split in ("train", "test"):
        lines = (json.dumps(row) + "\n" for row in rows)
        (place / f"{split}.jsonl").write_text("".join(lines))
    return place


def overrides(key: str, section: DatasetSection | None, folder: Path) -> list[str]:
    """``--set`` for a data set of the hub or of a file that nobody has: rows of the same form."""
    if section is None or section.use not in ("hub", "jsonl", *MATHS):
        return []
    place = folder / ("gsm8k" if "gsm8k" in str(section.model_dump()).lower() else "math")
    if section.use == "hub":
        return ["--set", f"{key}.with.id={place}"]
    split = "test" if key.startswith("eval") else "train"
    return ["--set", f"{key}.with.path={place / f'{split}.jsonl'}"]


MATHS = ("math/gsm8k", "math/math", "math/math500")
