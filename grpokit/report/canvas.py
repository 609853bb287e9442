"""Where pictures are drawn: matplotlib without a display, equal files for equal input, one palette.

Needs the extra ``plot``; every import of matplotlib is inside a function.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grpokit.errors import CheckpointError, PreflightError, RecipeError

__all__ = [
    "COLOURS",
    "FORMATS",
    "check_target",
    "colour",
    "drawable",
    "plain",
    "pyplot",
    "save",
    "tidy",
]

FORMATS = (".png", ".svg", ".pdf")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, which the colour-blind can tell apart too; its yellow is no line on white."""
DASHES = ("-", "--", ":", "-.")
STYLE = {
    "svg.hashsalt": "grpokit",
    "svg.fonttype": "none",
    "font.size": 9,
    "text.parse_math": False,  # a name may hold a dollar sign
}
DATES = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def drawable() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def check_target(path: Path, option: str) -> None:
    """Refuses a picture that cannot be made before anything is computed.

    Raises:
        RecipeError: the ending is none that is known.
        PreflightError: matplotlib is not installed.
        CheckpointError: the folder is not there.
    """
    if path.suffix.lower() not in FORMATS:
        raise RecipeError(
            f"the kind of picture is told by the ending, and {path.name!r} has none of "
            + ", ".join(FORMATS),
            place=option,
            remedy=f"write {option} {path.stem or 'curves'}.svg",
        )
    if not drawable():
        raise PreflightError(
            "matplotlib is not installed",
            place=option,
            remedy="pip install 'grpokit[plot]'",
        )
    if not path.absolute().parent.is_dir():
        raise CheckpointError(
            "there is no such folder",
            place=str(path.parent),
            remedy=f"make it, or name another with {option}",
        )


@contextmanager
def pyplot() -> Iterator[Any]:
    """``matplotlib.pyplot`` in our style; what was set before is set again afterwards."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield plt


def save(plt: Any, figure: Any, files: Sequence[Path]) -> tuple[Path, ...]:
    """Writes the figure into each file, whole or not at all, and closes it.

    Raises:
        CheckpointError: a file cannot be written.
    """
    for path in files:
        suffix = path.suffix.lower()
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        try:
            figure.savefig(
                temporary, format=suffix.removeprefix("."), metadata=DATES.get(suffix, {}), dpi=110
            )
            temporary.replace(path)
        except OSError as error:
            raise CheckpointError(
                f"the picture could not be written: {error.strerror or error}",
                place=str(path),
                remedy="name a file in a folder that can be written",
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
    plt.close(figure)
    return tuple(files)


def colour(place: int) -> tuple[str, str]:
    """Colour and dashes of the line with this number; 28 are different."""
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def plain(text: str) -> str:
    """A name for a picture: what is not printable is a question mark, and it does not go on for ever."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:80])
    return shown if len(text) <= 80 else f"{shown}..."


def tidy(axis: Any, *, grid: str = "both") -> None:
    """A light grid behind the lines, no box."""
    axis.grid(axis=grid, color="#e6e6e6", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
