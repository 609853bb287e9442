"""The content of ``NAME.receipt.json``. It may come from a stranger: strict, plain data, bounded."""

from __future__ import annotations

import json
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from grpokit.compose.diagnostics import clip
from grpokit.errors import RecipeError
from grpokit.spec.config import Config

__all__ = [
    "MAX_BYTES",
    "SUFFIX",
    "Checked",
    "DataFact",
    "Difference",
    "Measured",
    "Metric",
    "ModelFact",
    "OverSeeds",
    "Receipt",
    "RecipeFact",
    "RewardFact",
    "RunFact",
    "TextFact",
    "dump",
    "parse",
    "read",
]

SUFFIX = ".receipt.json"
MAX_BYTES = 1_000_000
"""Bytes of a receipt. One of 1,319 questions and ten seeds has 20,000."""

Text = Annotated[str, Field(max_length=1000)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]*$", max_length=500_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=0, le=2**62)]
Scalar = str | bool | int | float | None
"""A value of a recipe; an empty mapping or list is the same as none."""
Words = Annotated[dict[Text, Text], Field(max_length=100)]


def _ordered(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("the interval ends before it begins")
    return interval


class TextFact(Config):
    """One file of the recipe: its name, and the hash of its text."""

    name: Text
    hash: Hash


class RecipeFact(Config):
    """The recipe as it was trained: every value that decides the result, defaults filled in."""

    name: Text
    hash: Hash
    """Of ``values``."""
    values: dict[Text, Scalar]
    texts: tuple[TextFact, ...]
    """The recipe's own file, then those that it extends."""


class ModelFact(Config):
    """The model that training began with, as the backend identifies it."""

    id: Text
    revision: Text = ""
    weights: Text = ""
    chat_template: Text = ""
    tokenizer: Text = ""
    backend: Text = ""
    device: Text = ""
    dtype: Text = ""


class DataFact(Config):
    """A data set: its id, and the fingerprint of its rows."""

    use: Text
    fingerprint: Text


class RewardFact(Config):
    """A reward as it scored: settings with defaults, and the hash of its source.

    ``source`` covers what the reward's module imports of its own package (``source_hash``).
    """

    name: Text
    id: Text
    distribution: Text
    version: Text
    source: Hash
    weight: float
    settings: dict[Text, Scalar]


class Metric(Config):
    """What is measured, on what, and how its intervals are made."""

    name: Literal["accuracy"] = "accuracy"
    reward: Text
    """The reward that means "correct"."""
    threshold: float
    n: Annotated[int, Field(ge=1, le=2_000_000)]
    items: Hash
    """Hash of the ids of the questions, in their order."""
    sampling: Words
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    interval: Literal["wilson"] = "wilson"
    difference: Literal["tango"] = "tango"


class Measured(Config):
    """One model's answers: which are right, a bit an answer from the first on, as hex digits."""

    right: Hex
    value: Share
    interval: Annotated[tuple[Share, Share], AfterValidator(_ordered)]


class Difference(Config):
    """Trained less base, on the same questions."""

    value: Signed
    interval: Annotated[tuple[Signed, Signed], AfterValidator(_ordered)]
    gained: Count
    lost: Count


class Checked(Config):
    """What the check of the rewards said before the run (``grpokit rewards check``)."""

    state: Literal["checked", "skipped", "not checked"]
    probes: Count = 0
    findings: tuple[Text, ...] = ()
    """``severity id (reward)``, an entry a finding."""
    reason: Text = ""


class RunFact(Config):
    """One training run: a seed, what it took, where, and what came of it."""

    seed: Annotated[int, Field(ge=0, le=2**63 - 1)]
    date: Text
    steps: Count
    seconds: Annotated[float, Field(ge=0)]
    completions: Count
    tokens: Count
    reward_check: Checked
    edited: tuple[Text, ...] = ()
    """Rewards whose source changed after the run, and that score all it saved as they did."""
    hardware: Words
    packages: Words
    weights: Text = ""
    """Hash of what was trained, as the backend identifies it."""
    base: Measured
    trained: Measured
    difference: Difference


class OverSeeds(Config):
    """Means over the runs, and how far the runs lie apart: standard deviations, extremes."""

    base: Share
    trained: Share
    difference: Signed
    deviation: Annotated[float, Field(ge=0)]
    """Sample standard deviation of the trained models' values."""
    lowest: Share
    highest: Share


class Receipt(Config):
    """A whole receipt."""

    receipt: Literal[1]
    recipe: RecipeFact
    plugins: Words
    """Distribution -> version of grpokit and of every plugin that the recipe names."""
    model: ModelFact
    train: DataFact
    eval: DataFact
    rewards: Annotated[tuple[RewardFact, ...], Field(min_length=1, max_length=100)]
    eval_rewards: Annotated[tuple[RewardFact, ...], Field(max_length=100)] = ()
    """Where the evaluation has rewards of its own."""
    metric: Metric
    runs: Annotated[tuple[RunFact, ...], Field(min_length=1, max_length=100)]
    over_seeds: OverSeeds | None = None
    """Where there are several runs."""
    note: Text = ""
    """A word of its author."""


def dump(receipt: Receipt) -> str:
    """The file's text: ASCII, keys in the order of the model, lines that a diff can show."""
    return json.dumps(receipt.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


def read(file: Traversable, place: str) -> Receipt:
    """A receipt from a file.

    Raises:
        RecipeError: it cannot be read, is too large, or is no receipt; with every problem.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecipeError(
            f"the receipt cannot be read: {reason}", place=place, remedy="check its name and mode"
        ) from error
    return parse(raw, place)


def parse(raw: bytes, place: str) -> Receipt:
    """A receipt from bytes. Raises RecipeError."""
    remedy = "make it again: grpokit recipes receipt RUN"
    if len(raw) > MAX_BYTES:
        raise RecipeError(
            f"the receipt is larger than {MAX_BYTES} bytes", place=place, remedy=remedy
        )
    try:
        return Receipt.model_validate_json(raw)
    except ValidationError as error:
        problems = tuple(_line(dict(item)) for item in error.errors(include_url=False)[:20])
        version = _version(raw)
        if isinstance(version, int) and version > 1:
            raise RecipeError(
                f"the receipt has format {version}; this grpokit reads format 1",
                place=place,
                remedy="upgrade it: pip install -U grpokit",
            ) from error
        raise RecipeError(
            f"this is no receipt: {problems[0]}"
            + (f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""),
            place=place,
            remedy=remedy,
            problems=problems if len(problems) > 1 else (),
        ) from error


def _line(item: dict[str, Any]) -> str:
    where = clip(".".join(map(str, item["loc"])), 200)
    return f"{where}: {item['msg']}" if where else str(item["msg"])


def _version(raw: bytes) -> object:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return data.get("receipt") if isinstance(data, dict) else None
