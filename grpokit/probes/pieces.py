"""The probes on the rows: all in one batch, or bit by bit where the check may end at any time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from grpokit.probes.expand import Case, NotApplicable, expand
from grpokit.probes.library import Probe, Way
from grpokit.probes.measure import Bench, Measured

__all__ = ["Work", "pieces", "text_of", "work_of"]

Work = tuple[Case, list[tuple[Probe, str]]]
FIRST = 4
"""Completions of the first bit: of a slow reward, something is known soon."""
QUICK = 0.5
"""Seconds below which the next bit is four times as large."""


def text_of(probe: Probe, case: Case, way: Way) -> str | None:
    """The probe's completion; None where it says nothing about the row."""
    try:
        return expand(probe, case, way)
    except NotApplicable:
        return None


def work_of(probes: Sequence[Probe], cases: Sequence[Case], way: Way) -> list[Work]:
    """Each row with the probes that apply to it."""
    return [
        (
            case,
            [(probe, text) for probe in probes if (text := text_of(probe, case, way)) is not None],
        )
        for case in cases
    ]


def pieces(
    bench: Bench, way: Way, work: Sequence[Work], *, bits: bool
) -> Iterator[tuple[int, list[tuple[Probe, Measured]]]]:
    """Position of the row, and what its probes got; with ``bits`` a row comes several times.

    Raises:
        OutOfTimeError: the check's time is over; what came before counts.
    """
    if not bits:
        texts = [[text for _, text in found] for _, found in work]
        answered = bench.measure([case for case, _ in work], way, texts)
        for number, ((_, found), row) in enumerate(zip(work, answered, strict=True)):
            yield number, _paired(found, row)
        return
    size = FIRST
    for number, (case, found) in enumerate(work):
        rest = found
        while rest:
            now, rest = rest[:size], rest[size:]
            began = time.monotonic()
            (row,) = bench.measure([case], way, [[text for _, text in now]])
            size *= 4 if time.monotonic() - began < QUICK else 1
            yield number, _paired(now, row)


def _paired(
    found: Sequence[tuple[Probe, str]], row: Sequence[Measured]
) -> list[tuple[Probe, Measured]]:
    return [(probe, measured) for (probe, _), measured in zip(found, row, strict=True)]
