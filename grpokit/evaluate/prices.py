"""What answers cost, by a table of prices that its user keeps.

    gpt-example: {input: 0.15, output: 0.60}   # of a million tokens
    trained: {hour: 1.20}                      # of an hour of the machine that answered

A row is found by the label in the tables or by the model's name. There are no prices of our own: they would be
wrong soon, and nobody would see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from grpokit.errors import RecipeError
from grpokit.evaluate.records import Evaluation
from grpokit.spec.config import Config

__all__ = ["Cost", "Price", "cost_of", "read_prices"]

MILLION = 1_000_000
HOUR = 3600


class Price(Config):
    """One row: of tokens, or of time. Plain numbers; the currency is the user's."""

    input: float | None = Field(default=None, ge=0)
    output: float | None = Field(default=None, ge=0)
    hour: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        tokens = (self.input, self.output)
        if (self.hour is None) == (tokens == (None, None)) or (self.hour and any(tokens)):
            raise ValueError("give input and output, or hour")
        if self.hour is None and None in tokens:
            raise ValueError("give input and output, both of a million tokens")
        return self


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the answers to all questions cost; ``total`` is None where it cannot be known, and ``why`` says so."""

    total: float | None
    questions: int
    why: str = ""

    @property
    def each(self) -> float | None:
        """Of one question, all answers to it together."""
        return None if self.total is None or not self.questions else self.total / self.questions

    def as_dict(self) -> dict[str, Any]:
        return {"cost": self.total, "cost_per_question": self.each, "why_not": self.why or None}


def read_prices(path: Path) -> dict[str, Price]:
    """The table of a YAML file.

    Raises:
        RecipeError: it cannot be read, or rows are no prices; all of them are named.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _refused(path, [f"it cannot be read: {error}"]) from error
    if not isinstance(data, dict) or not data:
        raise _refused(path, ["it is no table"])
    found, wrong = {}, []
    for name, row in data.items():
        try:
            found[str(name)] = Price.model_validate(row)
        except ValidationError as error:
            wrong += [
                f"{name}{''.join(f'.{part}' for part in each['loc'])}: {each['msg']}"
                for each in error.errors()
            ]
    if wrong:
        raise _refused(path, wrong)
    return found


def _refused(path: Path, wrong: list[str]) -> RecipeError:
    return RecipeError(
        "; ".join(wrong),
        place=str(path),
        remedy="a row is `NAME: {input: 0.15, output: 0.60}`, of a million tokens, or `NAME: {hour: 1.20}`",
    )


def cost_of(evaluation: Evaluation, prices: Mapping[str, Price]) -> Cost:
    """What an evaluation cost by a table of prices by label or by model."""
    questions = len(evaluation.counts)
    model = evaluation.fingerprint.get("model", {})
    names = (evaluation.label, str(model.get("model", "")))
    price = next((prices[name] for name in names if name in prices), None)
    if price is None:
        return Cost(total=None, questions=questions, why="it has no row in the table")
    if price.hour is not None:
        if not evaluation.seconds:
            return Cost(total=None, questions=questions, why="its seconds are not known")
        return Cost(total=evaluation.seconds / HOUR * price.hour, questions=questions)
    counts = [item.prompt_tokens for item in evaluation.items]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        why = "the tokens of its questions were not kept"
        return Cost(total=None, questions=questions, why=why)
    answered = sum(item.tokens for item in evaluation.items)
    total = sum(known) * (price.input or 0.0) + answered * (price.output or 0.0)
    return Cost(total=total / MILLION, questions=questions)
