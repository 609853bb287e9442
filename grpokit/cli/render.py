"""Everything that reaches the terminal goes through here; no other module imports rich.

    safe        makes hostile text harmless (model output, plugin metadata, file names)
    say, warn   one line on stdout, one line on stderr
    table       rows that fit the terminal; aligned plain columns where there is none
    print_json  data for machines
    problems    diagnostics and findings, one a line
    live        a view that is redrawn in place; nothing where there is no terminal
    framed      lines that are made for the size of the terminal, and never larger

Colours need a terminal and are off with ``NO_COLOR``. rich is imported on first use, so
that commands which print plain text or JSON do not pay for it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

__all__ = [
    "LiveView",
    "cells",
    "console",
    "fold",
    "framed",
    "grid",
    "is_terminal",
    "live",
    "panel",
    "print_json",
    "problems",
    "progress_bar",
    "safe",
    "say",
    "stack",
    "table",
    "text",
    "unmarked",
    "warn",
]

LIMIT = 4000
"""Characters of one piece of text that are shown."""
CELL_LIMIT = 300
"""Characters of one table cell that are shown."""

WIDEST = 160
"""Columns of a frame on a terminal that is wider."""

_UNSTEADY = dict.fromkeys([0x200C, 0x200D, 0xFE0E, 0xFE0F, *range(0x1F3FB, 0x1F400)])
"""What joins or recolours its neighbours on one terminal, and takes cells of its own on another."""
_KEEP = frozenset("\n\t\u200c\u200d")  # the joiners belong to emoji and Indic scripts
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def _escape(char: str) -> str:
    if char in _KEEP or unicodedata.category(char) not in _HIDDEN:
        return char
    return char.encode("unicode_escape").decode("ascii")


def safe(value: object, *, limit: int = LIMIT, one_line: bool = False) -> str:
    r"""Returns text that cannot steer a terminal.

    Control characters (C0, C1, so every escape sequence), bidirectional controls, other invisible
    format characters, line separators and lone surrogates become visible escapes such as
    ``\x1b``. Newlines and tabs stay, unless ``one_line`` asks for one line. What is longer than
    ``limit`` is cut, and the cut is said.
    """
    raw = str(value)
    kept = raw[:limit]
    if not kept.isprintable():
        kept = "".join(char if char.isprintable() else _escape(char) for char in kept)
        if one_line:
            kept = kept.replace("\n", "\\n").replace("\t", " ")
    if len(raw) > limit:
        kept += f" ... ({len(raw) - limit} more characters)"
    return kept


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether the stream (stdout by default) is a terminal that can redraw lines."""
    chosen = sys.stdout if stream is None else stream
    return chosen.isatty() and os.environ.get("TERM", "") != "dumb"


def console(*, error: bool = False) -> Console:
    """A console on today's stdout or stderr. Markup, emoji codes and highlighting are off."""
    from rich.console import Console

    return Console(stderr=error, markup=False, emoji=False, highlight=False, soft_wrap=False)


def text(value: object, style: str = "", *, limit: int = LIMIT, one_line: bool = False) -> Text:
    """Safe text with a style, never read as markup."""
    from rich.text import Text

    return Text(safe(value, limit=limit, one_line=one_line), style=style)


def _print(value: object, style: str, *, error: bool, limit: int) -> None:
    stream = sys.stderr if error else sys.stdout
    if style and is_terminal(stream):
        console(error=error).print(text(value, style, limit=limit), soft_wrap=True)
    else:
        stream.write(safe(value, limit=limit) + "\n")


def say(value: object = "", style: str = "", *, limit: int = 1_000_000) -> None:
    """Prints one line (or paragraph) on stdout."""
    _print(value, style, error=False, limit=limit)


def warn(value: object, style: str = "", *, limit: int = LIMIT) -> None:
    """Prints one line (or paragraph) on stderr."""
    _print(value, style, error=True, limit=limit)


def cells(value: str) -> int:
    """Columns that text takes on a terminal: two for an ideograph, none for a combining mark."""
    from rich.cells import cell_len

    return cell_len(value)


def fold(value: object, width: int, lines: int) -> list[str]:
    """Safe text in at most so many lines of ``width`` columns; ``…`` ends one that was cut.

    A line end of the text is shown as ``↵``. Joiners and the like, which terminals measure
    differently, are left out.
    """
    room = max(lines, 1) * max(width, 1)
    raw = str(value).strip().translate(_UNSTEADY).replace("\r\n", "\n")
    flat = safe(raw[: room + 1].replace("\n", " ↵ "), limit=4 * room, one_line=True)
    folded: list[str] = []
    while flat and len(folded) < lines:
        end = _fitting(flat, width)
        space = flat.rfind(" ", width * 2 // 3, end + 1)
        if end < len(flat) and space > 0:
            end = space
        folded.append(flat[:end].rstrip())
        flat = flat[end:].lstrip()
    if flat and folded:
        last = folded[-1]
        folded[-1] = last[: _fitting(last, width - 1)] + "…"
    return folded or [""]


def _fitting(value: str, width: int) -> int:
    """Characters from the start that take at most ``width`` columns; at least one."""
    taken = 0
    for place, char in enumerate(value):
        taken += cells(char)
        if taken > width:
            return max(place, 1)
    return len(value)


def unmarked(value: str) -> str:
    """Text for Typer's help, which reads markup: brackets are escaped."""
    from rich.markup import escape

    return escape(value)


def problems(lines: Iterable[object], *, style: str = "red") -> None:
    """Prints diagnostics on stderr, one a line; anything with a useful ``str()`` is accepted."""
    for line in lines:
        warn(line, style)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    styles: Mapping[str, str] | None = None,
    limit: int = CELL_LIMIT,
) -> None:
    """Prints a table. Cells are made safe; text that does not fit is folded, never lost.

    Without a terminal: two spaces between aligned columns and no folding, for grep and diff.

    Args:
        columns: headings; one that starts with ``>`` is right-aligned.
        rows: cells, one sequence a row.
        title: line above the table.
        styles: heading -> style of its column.
        limit: characters of a cell that are shown.
    """
    heads = [safe(column.removeprefix(">"), limit=CELL_LIMIT, one_line=True) for column in columns]
    right = [column.startswith(">") for column in columns]
    cells = [[safe(cell, limit=limit, one_line=True) for cell in row] for row in rows]
    if title:
        say(title, "bold")
    if not is_terminal():
        _plain_table(heads, right, cells)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head, to_right in zip(heads, right, strict=True):
        shown.add_column(
            Text(head),
            justify="right" if to_right else "left",
            style=(styles or {}).get(head, ""),
            overflow="fold",
        )
    for row in cells:
        shown.add_row(*(Text(cell) for cell in row))
    console().print(shown)


def _plain_table(heads: list[str], right: list[bool], cells: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for row in [heads, *cells]:
        line = "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        sys.stdout.write(line.rstrip() + "\n")


def _plain_data(value: Any) -> Any:
    """JSON has no sets, paths or NaN: sets are sorted, other objects are named, NaN is null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain_data(item) for key, item in value.items()}
    if isinstance(value, set | frozenset | list | tuple):
        items = [_plain_data(item) for item in value]
        return items if isinstance(value, list | tuple) else sorted(items)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    dump = getattr(value, "model_dump", None)
    return _plain_data(dump(mode="json", by_alias=True)) if callable(dump) else str(value)


def print_json(data: object) -> None:
    """Prints JSON on stdout: ASCII only, so that no text in it can steer a terminal."""
    sys.stdout.write(json.dumps(_plain_data(data), indent=2, allow_nan=False) + "\n")


def grid(rows: Iterable[Sequence[RenderableType]], *, right: Sequence[int] = ()) -> RenderableType:
    """Cells in columns without lines; strings are made safe. ``right`` lists right-aligned columns."""
    from rich.table import Table

    shown = Table.grid(padding=(0, 2))
    listed = [list(row) for row in rows]
    for index in range(max((len(row) for row in listed), default=0)):
        shown.add_column(justify="right" if index in right else "left", overflow="fold")
    for row in listed:
        shown.add_row(*(text(cell) if isinstance(cell, str) else cell for cell in row))
    return shown


def panel(content: RenderableType, *, title: str = "", style: str = "") -> RenderableType:
    """A box around something, with a safe title."""
    from rich.panel import Panel

    inner = text(content) if isinstance(content, str) else content
    head = text(title, one_line=True, limit=CELL_LIMIT) if title else None
    return Panel(inner, title=head, border_style=style, title_align="left")


def framed(
    draw: Callable[[int, int], Sequence[Text]],
    *,
    title: str = "",
    footer: str = "",
    style: str = "",
) -> RenderableType:
    """The lines that ``draw(width, height)`` makes for the room inside a box, whatever the terminal.

    One line of the terminal stays free. What is longer than the width is cut, never wrapped.
    """
    return _Framed(draw, title, footer, style)


@dataclasses.dataclass(frozen=True)
class _Framed:
    draw: Callable[[int, int], Sequence[Text]]
    title: str
    footer: str
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.console import Group
        from rich.panel import Panel

        width, height = min(options.max_width, WIDEST), options.size.height - 1
        boxed = width >= 12 and height >= 4
        room = (width - 4, height - 2) if boxed else (width, max(height, 1))
        lines = list(self.draw(*room))[: room[1]]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
            line.truncate(room[0], overflow="ellipsis")
        content = Group(*lines)
        head, foot = (
            text(fold(part, max(width - 8, 1), 1)[0]) if part else None
            for part in (self.title, self.footer)
        )
        if not boxed:
            yield content
            return
        yield Panel(
            content,
            title=head,
            subtitle=foot,
            border_style=self.style,
            title_align="left",
            subtitle_align="right",
            width=width,
        )


def stack(*parts: RenderableType) -> RenderableType:
    """Parts one under another; strings are made safe."""
    from rich.console import Group

    return Group(*(text(part) if isinstance(part, str) else part for part in parts))


def progress_bar(done: float, total: float, *, width: int = 40) -> RenderableType:
    """A bar that shows ``done`` of ``total``."""
    from rich.progress_bar import ProgressBar

    return ProgressBar(total=max(total, 1e-9), completed=done, width=width)


class LiveView:
    """A view on stderr that is redrawn in place; ``print`` writes above it."""

    def __init__(self) -> None:
        from rich.live import Live

        self._console = console(error=True)
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False)

    def update(self, view: RenderableType) -> None:
        self._live.update(view, refresh=True)

    def print(self, value: RenderableType) -> None:
        self._console.print(text(value) if isinstance(value, str) else value)

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()


@contextmanager
def live() -> Iterator[LiveView | None]:
    """A :class:`LiveView` while the block runs, or None where stderr is no terminal."""
    if not is_terminal(sys.stderr):
        yield None
        return
    view = LiveView()
    view.start()
    try:
        yield view
    finally:
        view.stop()
