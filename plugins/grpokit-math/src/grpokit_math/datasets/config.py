"""Settings of the data sets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from grpokit.api import Config

__all__ = [
    "AimeConfig",
    "AmcConfig",
    "Gsm8kConfig",
    "Math500Config",
    "MathConfig",
    "OfficialConfig",
]


class OfficialConfig(Config):
    """What all of them can set."""

    split: str = "test"
    """Part of the data set. A local file is used whole, whatever its name."""
    path: str | None = Field(default=None, min_length=1)
    """A local file in the official format (`.jsonl`, `.json` or `.parquet`; the first two also `.gz`), or a folder with a file named after the split; relative to the working directory. Without it the rows come from the hub, which needs `grpokit-hf[hub]`."""
    hub: str | None = Field(default=None, min_length=1)
    """Another data set of the hub with the same columns, such as a mirror."""
    revision: str | None = None
    """Commit, tag or branch on the hub. A commit makes the run repeatable."""
    on_bad_row: Literal["error", "skip"] = "error"
    """A row without a usable question or reference answer ends the run before it starts, or is left out."""


class Gsm8kConfig(OfficialConfig):
    """Settings of the data set `gsm8k`."""

    split: Literal["train", "test"] = "train"
    """Part of the data set. A local file is used whole, whatever its name."""


class MathConfig(OfficialConfig):
    """Settings of the data set `math`. The unpacked archive of the authors works as `path` too."""

    split: Literal["train", "test"] = "train"
    """Part of the data set. A local file is used whole, whatever its name."""


class Math500Config(OfficialConfig):
    """Settings of the data set `math500`."""

    split: Literal["test"] = "test"
    """There is one part."""


class ContestConfig(OfficialConfig):
    """What `aime` and `amc` have in common."""

    split: str = "test"
    """There is one part, `test`. With `hub` it is the split's name there; where it is not set, the one of the usual data set."""

    @model_validator(mode="after")
    def _one_part(self) -> Self:
        if self.split != "test" and self.hub is None:
            raise ValueError(f"there is one part, test, and split is {self.split}; remove it")
        return self


class AimeConfig(ContestConfig):
    """Settings of the data set `aime`."""

    year: Literal[2024, 2025] = 2024
    """Both contests of a year; of a local file all rows are used."""


class AmcConfig(ContestConfig):
    """Settings of the data set `amc`. The 40 problems of 2023: `{hub: math-ai/amc23, split: test}`."""
