"""A receipt against answers that were given again: by the base model, or after another training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grpokit.evaluate.spread import expected as seed_expected
from grpokit.receipts.facts import Fact, points
from grpokit.receipts.marks import difference, measured, unpack

if TYPE_CHECKING:
    from grpokit.receipts.model import Measured, ModelFact, Receipt, RunFact

__all__ = ["base_again", "expected", "trained_again"]

IDENTITY = ("weights", "chat_template", "tokenizer")


def base_again(receipt: Receipt, right: Sequence[bool], model: Mapping[str, Any]) -> list[Fact]:
    """The base model of today against that of the receipt."""
    told = [run.base for run in receipt.runs]
    return [_model(receipt.model, model), _answers("base again", told, right, receipt)]


def _model(fact: ModelFact, model: Mapping[str, Any]) -> Fact:
    here = {key: str(model.get(key, "")) for key in IDENTITY}
    other = [f"{key} {getattr(fact, key)}, is {here[key]}" for key in IDENTITY
             if getattr(fact, key) != here[key]]  # fmt: skip
    if other:
        return Fact(
            name="model",
            state="differs",
            text=f"{fact.id}: was {'; '.join(other)}",
            remedy="get the revision that the receipt names",
        )
    return Fact(name="model", state="same", text=f"{fact.id}, weights {here['weights']}")


def trained_again(
    receipt: Receipt, run: RunFact, right: Sequence[bool], weights: str
) -> list[Fact]:
    """A training run of today with a seed of the receipt against that of the receipt.

    Another machine or other versions round otherwise, and a training run that rounds otherwise goes
    another way, as with another seed. So the result is expected where the receipt's seeds lie.
    """
    facts = []
    name = f"trained again, seed {run.seed}"
    if weights and weights == run.weights:
        facts.append(Fact(name=name, state="recomputed", text=f"the same weights, {weights}"))
    else:
        text = f"weights were {run.weights}, are {weights}: it rounds otherwise here"
        facts.append(Fact(name=name, state="noted", text=text))
    told = [run.trained, *(each.trained for each in receipt.runs if each is not run)]
    facts.append(_answers("trained again", told, right, receipt))
    return facts


def _answers(name: str, told: Sequence[Measured], right: Sequence[bool], receipt: Receipt) -> Fact:
    """Answers against those of the receipt: the first is of the same seed."""
    level = receipt.metric.level
    now = measured(right, level)
    if now.right == told[0].right:
        return Fact(
            name=name,
            state="recomputed",
            text=f"{100 * now.value:.1f}%, every answer as in the receipt",
        )
    before = unpack(told[0].right, receipt.metric.n)
    paired = difference(before, right, level)
    moved = paired.gained + paired.lost
    shown = (
        f"{100 * now.value:.1f}%, {points(paired.value)} on the receipt's, {moved} answers differ"
    )
    low, high = expected([each.value for each in told], told[0].interval, level)
    if paired.interval[0] <= 0 <= paired.interval[1] or low <= now.value <= high:
        where = f"expected {100 * low:.1f}% to {100 * high:.1f}%"
        return Fact(name=name, state="same", text=f"{shown}; {where}")
    return Fact(
        name=name,
        state="differs",
        text=f"{shown}; expected {100 * low:.1f}% to {100 * high:.1f}%",
        remedy="look at versions and hardware above; a receipt of several seeds says how far apart "
        "they lie",
    )


def expected(
    values: Sequence[float], interval: tuple[float, float], level: float
) -> tuple[float, float]:
    """Where one more run is expected.

    Of n >= 2 runs: mean +- t(n - 1) sd sqrt(1 + 1/n), the prediction interval of another seed. Of a
    single one its own interval, which knows nothing of seeds.
    """
    return seed_expected(values, level) or interval
