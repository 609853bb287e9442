"""Rows of the data set with their messages, for other trainers."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import make_prompt
from grpokit.errors import PreflightError
from grpokit.interop.rows import MESSAGES, pack

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.flow import Prompt
    from grpokit.spec.recipe import DatasetSection, Recipe

__all__ = [
    "Questions",
    "anchored",
    "longest_prompt",
    "questions",
    "trl_rows",
    "verl_rows",
    "write_jsonl",
    "write_parquet",
]

WHOLE = 20_000
"""A data set of at most so many rows is written whole, whatever the run needs."""


@dataclass(frozen=True)
class Questions:
    """The prompts of a data set, its columns, and whether it has more rows than these."""

    prompts: tuple[Prompt, ...]
    columns: tuple[str, ...]
    cut: bool


def questions(
    recipe: Recipe, section: DatasetSection, catalog: Catalog, rows: int | None, needed: int
) -> Questions:
    """The first rows: ``rows`` of them, or a whole data set, or as many as a run needs.

    Raises:
        PreflightError: the data set cannot be opened, lacks a column of the prompt, or holds what is
            no text.
    """
    dataset = open_dataset(catalog, section)
    size = dataset.size
    wanted = rows or (needed if size is None or size > WHOLE else size)
    count = wanted if size is None else min(size, max(wanted, 1))
    prompts = tuple(make_prompt(recipe.prompt, dataset[index], index) for index in range(count))
    for prompt in prompts:
        _refuse_half_characters(prompt)
    return Questions(prompts, dataset.columns, cut=size is None or count < size)


def _refuse_half_characters(prompt: Prompt) -> None:
    """JSON can spell half of a UTF-16 pair, which no file in UTF-8 holds."""
    text = json.dumps([prompt.row, prompt.messages], ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PreflightError(
            f"it holds {text[error.start]!r}, half a character",
            place=f"data set row {prompt.index}",
            remedy="repair the row, or leave it out",
        ) from error


def anchored(recipe: dict[str, Any], *, model: str) -> dict[str, Any]:
    """A resolved recipe that finds its files from any folder: relative paths become absolute ones."""
    made = copy.deepcopy(recipe)
    made["model"]["id"], exam = model, made["eval"]["dataset"] or {"with": {}}
    for section, key in (
        (made["model"], "chat_template"),
        (made["dataset"]["with"], "path"),
        (exam["with"], "path"),
    ):
        if isinstance(section.get(key), str):
            section[key] = _absolute(section[key])
    return made


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def longest_prompt(prompts: Iterable[Prompt]) -> int:
    """An upper bound of a prompt's tokens: a token is a byte or more, and each message has a frame."""
    lengths = (
        sum(len(each["content"].encode()) + 16 for each in prompt.messages) + 64
        for prompt in prompts
    )
    return max(lengths, default=512)


def trl_rows(found: Questions, taken: Iterable[str]) -> list[dict[str, Any]]:
    """``prompt`` (messages) and the columns."""
    flat = pack([prompt.row for prompt in found.prompts], taken)
    return [
        {"prompt": [dict(each) for each in prompt.messages], **row}
        for prompt, row in zip(found.prompts, flat, strict=True)
    ]


def verl_rows(
    found: Questions, taken: Iterable[str], *, source: str, split: str, messages: bool
) -> list[dict[str, Any]]:
    """The schema of verl; all columns are in ``extra_info``, with ``messages`` the messages too."""
    flat = pack([prompt.row for prompt in found.prompts], (*taken, "index", "split"))
    return [
        {
            "data_source": source,
            "prompt": [dict(each) for each in prompt.messages],
            "ability": source,
            "reward_model": {"style": "rule", "ground_truth": _text(prompt.row.get("answer"))},
            "extra_info": {
                **row,
                "index": prompt.index,
                "split": split,
                **({MESSAGES: json.dumps(prompt.messages)} if messages else {}),
            },
        }
        for prompt, row in zip(found.prompts, flat, strict=True)
    ]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One row a line."""
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A parquet file; needs pyarrow, which comes with ``datasets``.

    Raises:
        PreflightError: pyarrow is not installed.
    """
    try:
        pa: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise PreflightError(
            "verl reads parquet files, and pyarrow, which writes them, is not installed",
            place=str(path),
            remedy="pip install pyarrow",
        ) from error
    parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
