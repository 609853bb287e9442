"""Every error that grpokit raises on purpose, and the exit code each one ends with.

An error names the place, the fact and the remedy. The command line prints it without a traceback.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

__all__ = [
    "CheckpointError",
    "ComponentError",
    "ExitCode",
    "FindingError",
    "GrpokitError",
    "Interrupted",
    "NonFiniteError",
    "OutOfMemoryError",
    "PreflightError",
    "RecipeError",
    "RewardError",
    "RowError",
    "error_as_data",
    "error_from_data",
]


class ExitCode(IntEnum):
    """What the process says when it ends; documented in docs/reference/exit-codes.md."""

    OK = 0
    BUG = 1
    USAGE = 2
    PREFLIGHT = 3
    REWARD = 4
    NON_FINITE = 5
    STORAGE = 6
    OUT_OF_MEMORY = 7
    FINDING = 8
    SIGINT = 130
    SIGPIPE = 141
    SIGTERM = 143


class GrpokitError(Exception):
    """Base of all errors raised on purpose.

    Args:
        fact: what is wrong, one sentence, with names and numbers.
        place: where: ``file:line:col``, a plugin, a row, a folder.
        remedy: what to do, preferably a command.

    ``alone`` is set on an error of one process of several that the others cannot be told, because
    they wait inside common work: the process ends, and they notice.
    """

    exit_code: ExitCode = ExitCode.BUG
    alone: bool = False

    def __init__(self, fact: str, *, place: str = "", remedy: str = "") -> None:
        super().__init__(fact)
        self.fact = fact
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.place}: {self.fact}" if self.place else self.fact
        return f"{text}; {self.remedy}" if self.remedy else text


class RecipeError(GrpokitError):
    """The recipe (or the command line) is wrong; carries every problem at once.

    ``problems`` holds the rendered diagnostics, one string a problem.
    """

    exit_code = ExitCode.USAGE

    def __init__(
        self, fact: str, *, place: str = "", remedy: str = "", problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(fact, place=place, remedy=remedy)
        self.problems = problems


class ComponentError(GrpokitError):
    """A plugin, or a component that a recipe names, is missing, ambiguous, broken or incompatible."""

    exit_code = ExitCode.PREFLIGHT


class PreflightError(GrpokitError):
    """The recipe is right, but this machine, model or data set cannot run it.

    ``problems`` holds all of them, one string a problem, where a plan found several.
    """

    exit_code = ExitCode.PREFLIGHT

    def __init__(
        self, fact: str, *, place: str = "", remedy: str = "", problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(fact, place=place, remedy=remedy)
        self.problems = problems


class RewardError(GrpokitError):
    """A reward could not score, beyond the error budget of the recipe."""

    exit_code = ExitCode.REWARD


class RowError(GrpokitError, ValueError):
    """A row of the data set that a reward cannot use, such as one whose gold answer is no number.

    Raised by a reward. The row's completions have no score, and the run goes on within its error budget.
    """

    exit_code = ExitCode.REWARD


class NonFiniteError(GrpokitError):
    """Loss, gradient or weights became NaN or infinite."""

    exit_code = ExitCode.NON_FINITE


class CheckpointError(GrpokitError):
    """A checkpoint cannot be written, verified or matched with the recipe."""

    exit_code = ExitCode.STORAGE


class OutOfMemoryError(GrpokitError):
    """The step does not fit in memory, also after the micro-batch was halved."""

    exit_code = ExitCode.OUT_OF_MEMORY


class FindingError(GrpokitError):
    """A finding is a reason to stop, and the recipe wants the run to end there (``train.on_finding``).

    A checkpoint of the last finished step is on the disk, and ``diagnosis.json`` says what was found.
    """

    exit_code = ExitCode.FINDING


class Interrupted(GrpokitError):
    """SIGINT or SIGTERM arrived; the run saved a checkpoint and can be resumed."""

    def __init__(self, signal_number: int, *, remedy: str = "") -> None:
        name = "SIGINT" if signal_number == 2 else "SIGTERM"
        super().__init__(f"stopped by {name}", remedy=remedy)
        self.signal_number = signal_number
        self.exit_code = ExitCode.SIGINT if signal_number == 2 else ExitCode.SIGTERM


def error_as_data(error: BaseException) -> dict[str, Any]:
    """An error as JSON, for the other processes of a run."""
    if not isinstance(error, GrpokitError):
        fact = f"{type(error).__name__}: {error}"
        return {"fact": fact, "remedy": "this is a fault of grpokit or a plugin"}
    known = (kind for kind in type(error).__mro__ if globals().get(kind.__name__) is kind)
    return {
        "kind": next(known).__name__,
        "fact": error.fact,
        "place": error.place,
        "remedy": error.remedy,
        "signal": getattr(error, "signal_number", None),
        "problems": [str(problem) for problem in getattr(error, "problems", ())],
    }


def error_from_data(data: dict[str, Any], process: int) -> GrpokitError:
    """The error that ``process`` told of, to be raised in another one: same kind, same exit code."""
    if data.get("signal"):
        return Interrupted(data["signal"], remedy=data["remedy"])
    place = f"process {process}: {data['place']}" if data.get("place") else f"process {process}"
    kind: type[GrpokitError] = globals()[data.get("kind", "GrpokitError")]
    error = kind(data["fact"], place=place, remedy=data["remedy"])
    if data.get("problems"):
        error.problems = tuple(data["problems"])  # type: ignore[attr-defined]
    return error
