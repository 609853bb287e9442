"""The data sets: every row is read and its reference answer checked before a run begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from grpokit.api import PreflightError
from grpokit_math.datasets.config import (
    AimeConfig,
    AmcConfig,
    Gsm8kConfig,
    Math500Config,
    MathConfig,
    OfficialConfig,
)
from grpokit_math.datasets.gold import GoldError, boxed_gold, contest_gold, hash_gold, text_of
from grpokit_math.datasets.read import BadRow, Raw, hub_rows, local_rows

__all__ = ["OfficialDataset", "aime", "amc", "gsm8k", "math", "math500"]

TOLD = 10
"""Bad rows that an error lists."""

Gold = Callable[[Raw], tuple[str, str | None]]


class OfficialDataset:
    """Rows with ``question``, ``answer`` (the final one), ``solution``, ``id`` and official columns.

    ``id`` is the row's own where it has one, else its split (or file) and number from 0. The
    fingerprint is of the rows and not of where they came from: the hub and a file of the same rows
    are the same data. ``skipped`` lists what ``on_bad_row: skip`` left out, as ``place: reason``.

    Raises:
        PreflightError: there are no rows, or rows without a usable question or answer.
    """

    def __init__(
        self,
        config: OfficialConfig,
        placed: Iterable[tuple[str, Raw | BadRow]],
        *,
        gold: Gold,
        kept: tuple[str, ...] = (),
        name: str = "",
    ) -> None:
        self.columns = ("question", "answer", "solution", "id", *kept)
        self._rows: list[Mapping[str, Any]] = []
        bad: list[tuple[str, str]] = []
        hashed = hashlib.sha256()
        for number, (place, raw) in enumerate(placed):
            try:
                if isinstance(raw, BadRow):
                    raise GoldError(raw.reason)  # noqa: TRY301
                row = _row(raw, gold, kept)
            except GoldError as error:
                bad.append((place, str(error)))
                continue
            hashed.update(json.dumps(row, sort_keys=True, default=str).encode())
            own = raw.get("unique_id", raw.get("id"))
            self._rows.append({**row, "id": f"{name}/{number}" if own is None else str(own)})
        if bad and (config.on_bad_row == "error" or not self._rows):
            raise _bad_rows(bad)
        if not self._rows:
            place = config.path or "the data set"
            raise PreflightError("it has no rows", place=place, remedy="give another file")
        self.skipped = tuple(f"{place}: {reason}" for place, reason in bad)
        self.fingerprint = hashed.hexdigest()[:16]

    @property
    def size(self) -> int | None:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._rows[index]


def _row(raw: Raw, gold: Gold, kept: tuple[str, ...]) -> dict[str, Any]:
    question = text_of(raw, "question", "problem")
    answer, solution = gold(raw)
    row: dict[str, Any] = {"question": question, "answer": answer, "solution": solution}
    for column in kept:
        row[column] = question if column == "problem" else raw.get(column)
    return row


def _bad_rows(bad: list[tuple[str, str]]) -> PreflightError:
    (place, fact), remedy = (
        bad[0],
        (
            "repair the file, or set dataset.with.on_bad_row: skip; rows of another form are read by "
            "the data set `jsonl`"
        ),
    )
    if len(bad) > 1:
        told = "; ".join(f"{place}: {reason}" for place, reason in bad[:TOLD])
        more = f"; and {len(bad) - TOLD} more" if len(bad) > TOLD else ""
        place, fact = "", f"{len(bad)} rows cannot be used: {told}{more}"
    return PreflightError(fact, place=place, remedy=remedy)


def _open(
    config: OfficialConfig,
    repository: str,
    *,
    gold: Gold,
    kept: tuple[str, ...] = (),
    name: str | None = None,
    hub_split: str | None = None,
) -> OfficialDataset:
    if config.path is not None:
        path = Path(config.path)
        placed = local_rows(config.path, config.split)
        label = config.split if path.expanduser().is_dir() else path.name.partition(".")[0]
    else:
        said = config.hub is not None and "split" in config.model_fields_set
        split = config.split if said else hub_split or config.split
        placed = hub_rows(config.hub or repository, name, split, config.revision)
        label = config.split
    return OfficialDataset(config, placed, gold=gold, kept=kept, name=label)


def gsm8k(config: Gsm8kConfig) -> OfficialDataset:
    """GSM8K (arXiv 2110.14168): ``{question, answer: "... #### 18"}``."""
    return _open(config, "openai/gsm8k", name="main", gold=hash_gold)


def math(config: MathConfig) -> OfficialDataset:
    """MATH (arXiv 2103.03874): ``{problem, level, type, solution}``."""
    kept = ("problem", "level", "type")
    repository = "DigitalLearningGmbH/MATH-lighteval"
    return _open(config, repository, name="default", gold=boxed_gold, kept=kept)


def math500(config: Math500Config) -> OfficialDataset:
    """MATH-500 (arXiv 2305.20050): ``{problem, solution, answer, subject, level, unique_id}``."""
    kept = ("problem", "level", "subject")
    return _open(config, "HuggingFaceH4/MATH-500", gold=boxed_gold, kept=kept)


def aime(config: AimeConfig) -> OfficialDataset:
    """AIME: ``{problem, answer}`` and what else the file has."""
    repository, split = {
        2024: ("HuggingFaceH4/aime_2024", "train"),
        2025: ("math-ai/aime25", "test"),
    }[config.year]
    gold = partial(contest_gold, highest=999)
    return _open(config, repository, gold=gold, kept=("problem", "url"), hub_split=split)


def amc(config: AmcConfig) -> OfficialDataset:
    """AMC 12: ``{problem, answer, url}``."""
    kept = ("problem", "url")
    repository = "AI-MO/aimo-validation-amc"
    return _open(config, repository, gold=contest_gold, kept=kept, hub_split="train")
