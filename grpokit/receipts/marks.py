"""Right and wrong answers as bits, and the numbers of a receipt that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from grpokit.evaluate.intervals import paired_difference, wilson
from grpokit.receipts.model import Difference, Measured, OverSeeds, RunFact

__all__ = ["difference", "measured", "over_seeds", "pack", "unpack"]


def pack(right: Sequence[bool]) -> str:
    """Four answers a hex digit, the first in the highest bit; the last digit is filled with 0."""
    bits = "".join("1" if each else "0" for each in right)
    return "".join(f"{int(bits[at : at + 4].ljust(4, '0'), 2):x}" for at in range(0, len(bits), 4))


def unpack(text: str, n: int) -> tuple[bool, ...]:
    """The ``n`` answers of :func:`pack`.

    Raises:
        ValueError: there are fewer or more digits, or the filling is not 0.
    """
    if len(text) != -(-n // 4):
        raise ValueError(f"{len(text)} hex digits do not hold {n} answers")
    bits = "".join(f"{int(digit, 16):04b}" for digit in text)
    if "1" in bits[n:]:
        raise ValueError(f"a bit stands after the last of {n} answers")
    return tuple(bit == "1" for bit in bits[:n])


def measured(right: Sequence[bool], level: float) -> Measured:
    """The share of right answers with its Wilson interval."""
    count, n = sum(right), len(right)
    return Measured(right=pack(right), value=count / n, interval=wilson(count, n, level))


def difference(base: Sequence[bool], trained: Sequence[bool], level: float) -> Difference:
    """The paired difference with Tango's interval."""
    pairs = list(zip(base, trained, strict=True))
    gained = sum(new and not old for old, new in pairs)
    lost = sum(old and not new for old, new in pairs)
    return Difference(
        value=(gained - lost) / len(pairs),
        interval=paired_difference(gained, lost, len(pairs), level),
        gained=gained,
        lost=lost,
    )


def over_seeds(runs: Sequence[RunFact]) -> OverSeeds | None:
    """Means and spread of several runs; one run says nothing of others."""
    if len(runs) < 2:
        return None
    trained = [run.trained.value for run in runs]
    return OverSeeds(
        base=fmean(run.base.value for run in runs),
        trained=fmean(trained),
        difference=fmean(run.difference.value for run in runs),
        deviation=stdev(trained),
        lowest=min(trained),
        highest=max(trained),
    )
