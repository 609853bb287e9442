"""Small drawings of numbers, in characters: a line, an area, a bar of shares. No colours, no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grpokit.report.points import thinned

__all__ = ["area", "duration", "shares", "sparkline"]

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(
    values: Sequence[float], width: int = 32, *, scale: tuple[float, float] | None = None
) -> str:
    """All values as at most ``width`` blocks, from the lowest to the highest or on ``scale``.

    Where there are more values than blocks, a block is the mean of its share.
    """
    shown = thinned(values, width)
    if not shown:
        return ""
    low, high = scale or (min(shown), max(shown))
    span = high - low or 1.0
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[_within(round((value - low) / span * top), top)] for value in shown)


def area(values: Sequence[float], width: int, height: int) -> list[str]:
    """The values as a filled curve of ``height`` lines, top line first; the lowest value still shows."""
    shown = thinned(values, width)
    if not shown or height < 1:
        return []
    low, high = min(shown), max(shown)
    eighths = height * len(_BLOCKS)
    levels = [1 + round((value - low) / (high - low or 1.0) * (eighths - 1)) for value in shown]
    lines = []
    for row in range(height - 1, -1, -1):
        filled = [_within(level - row * len(_BLOCKS), len(_BLOCKS)) for level in levels]
        lines.append("".join(_BLOCKS[eighth - 1] if eighth else " " for eighth in filled))
    return lines


def _within(number: int, top: int) -> int:
    return min(max(number, 0), top)


def shares(parts: Mapping[str, float], width: int) -> dict[str, int]:
    """Cells of each part in a bar of ``width``: they add up to it, and who has a share of 1/200 shows.

    Rounded by largest remainder; what is left out has no cell.
    """
    whole = sum(parts.values())
    if whole <= 0 or width < 1:
        return dict.fromkeys(parts, 0)
    exact = {name: value / whole * width for name, value in parts.items()}
    cells = {name: int(value) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: cells[name] - exact[name])
    for name in order[: width - sum(cells.values())]:
        cells[name] += 1
    for name, value in parts.items():
        most = max(cells, key=lambda each: cells[each])
        if not cells[name] and value >= whole / 200 and cells[most] > 1:
            cells[name], cells[most] = 1, cells[most] - 1
    return cells


def duration(seconds: float) -> str:
    """Seconds as ``42s``, ``3m 05s`` or ``2h 07m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
