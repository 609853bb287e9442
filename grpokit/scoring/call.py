"""One reward function, called on units of work: a row, a prompt's group, or a whole batch."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grpokit.errors import ComponentError, GrpokitError, RewardError
from grpokit.registry.catalog import Entry
from grpokit.registry.resolve import create
from grpokit.scoring import memory
from grpokit.scoring.signature import Asked, ask
from grpokit.scoring.values import (
    Fault,
    FaultKind,
    Outcome,
    clean,
    read_answer,
    read_confidence,
    read_continuations,
    read_many,
    read_one,
)
from grpokit.spec.rewards import DEADLINE, at_once_of

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "AT_ONCE",
    "READING",
    "Ask",
    "Batch",
    "ContinuationsCall",
    "Item",
    "Question",
    "Reading",
    "ReadingCall",
    "RewardCall",
    "Unit",
    "ahead_of",
    "reading_of",
    "timeout_fault",
]

AT_ONCE = 64
"""Coroutines of an async reward that run at the same time, unless it says how many."""
TRACE_LIMIT = 4000
TOLD = 2000
"""Characters of what an error says that are read."""

Reading = Literal["answer", "confidence"]
"""What a reward can say that it reads in a completion: fields of its spec."""
Ask = Literal["score", "continuations"] | Reading
"""What a call of a reward's worker is for."""
READING = Asked(form="row", is_async=False, required=("completion",), optional=(), everything=False)
"""How a function that reads something in a completion is called."""

Unit = Sequence[int]
"""Positions of the completions that one call scores."""
Emit = Callable[[int, list[Outcome]], None]


@dataclass(frozen=True)
class Question:
    """What belongs to a prompt: its row (the columns that the reward sees) and its messages."""

    row: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]] = ()

    @property
    def prompt(self) -> str:
        """The last user message."""
        texts = [m["content"] for m in self.messages if m["role"] == "user"]
        return texts[-1] if texts else ""


@dataclass(frozen=True)
class Item:
    """One completion; ``question`` is the position of its prompt in the batch.

    ``facts`` are what the policy says about it, by the names of ``signature.MEASURED``.
    """

    question: int
    sample: int
    completion: str
    finish: str = "stop"
    tokens: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def truncated(self) -> bool:
        return self.finish == "length"


@dataclass(frozen=True)
class Batch:
    """All completions of a step, prompt by prompt."""

    questions: Sequence[Question]
    items: Sequence[Item]

    def units(self, asked: Asked) -> list[list[int]]:
        """The calls that a reward of this form needs."""
        if asked.form == "row":
            return [[position] for position in range(len(self.items))]
        if asked.form == "batch":
            return [list(range(len(self.items)))] if self.items else []
        groups: dict[int, list[int]] = {}
        for position, item in enumerate(self.items):
            groups.setdefault(item.question, []).append(position)
        return list(groups.values())


class RewardCall:
    """Calls one reward function and reads what it returns.

    ``needs`` are those of the reward's spec: they decide which facts it can ask for.
    """

    def __init__(self, function: Callable[..., Any], needs: Collection[str] = ()) -> None:
        self.function = function
        self.asked = ask(function, needs)
        self._loop: asyncio.Runner | None = None

    def run(
        self, batch: Batch, units: Sequence[Unit], emit: Emit, timeout: float | None = None
    ) -> None:
        """Scores the units; ``emit(k, outcomes)`` is called as soon as unit k is done.

        Units run one after the other. Those of an async reward run together, at most ``AT_ONCE``
        (or what it asks for) at a time, and each coroutine is cancelled after ``timeout`` seconds a
        completion.
        """
        if self.asked.is_async:
            self._runner().run(self._together(batch, units, emit, timeout))
            return
        for number, unit in enumerate(units):
            DEADLINE.set(None if timeout is None else time.monotonic() + timeout * len(unit))
            emit(number, self._one(batch, unit))
        DEADLINE.set(None)

    def close(self) -> None:
        """Ends the event loop of an async reward."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _runner(self) -> asyncio.Runner:
        # One loop for all steps, so that a reward's client sessions stay usable.
        import asyncio  # half of a worker's start-up, for few rewards

        if self._loop is None:
            self._loop = asyncio.Runner()
        return self._loop

    def _one(self, batch: Batch, unit: Unit) -> list[Outcome]:
        # The border to foreign code: it may raise anything, SystemExit included.
        try:
            value = self.function(**self._arguments(batch, unit))
            if inspect.isawaitable(value):
                value = self._runner().run(_wait(value))
            return self._read(value, unit)  # a value is foreign code as well
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # it becomes a fault of these rows
            return [Outcome(fault=_fault(error))] * len(unit)

    async def _together(
        self, batch: Batch, units: Sequence[Unit], emit: Emit, limit: float | None
    ) -> None:
        import asyncio

        gate = asyncio.Semaphore(at_once_of(self.function, AT_ONCE))

        async def one(number: int, unit: Unit) -> None:
            async with gate:
                emit(number, await self._awaited(batch, unit, limit))

        await asyncio.gather(*(one(number, unit) for number, unit in enumerate(units)))

    async def _awaited(self, batch: Batch, unit: Unit, limit: float | None) -> list[Outcome]:
        import asyncio

        limit = None if limit is None else limit * len(unit)
        DEADLINE.set(None if limit is None else time.monotonic() + limit)
        # The border to foreign code, as in _one.
        try:
            async with asyncio.timeout(limit) as clock:
                value = await self.function(**self._arguments(batch, unit))
            return self._read(value, unit)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # it becomes a fault of these rows
            late = isinstance(error, TimeoutError) and clock.expired()
            fault = timeout_fault(limit or 0.0) if late else _fault(error)
            return [Outcome(fault=fault)] * len(unit)

    def _read(self, value: object, unit: Unit) -> list[Outcome]:
        if self.asked.form != "row":
            return read_many(value, len(unit))
        return [read_one(value)]

    def _arguments(self, batch: Batch, unit: Unit) -> dict[str, Any]:
        items = [batch.items[position] for position in unit]
        questions = [batch.questions[item.question] for item in items]
        columns = questions[0].row.keys()
        arguments: dict[str, Any] = {}
        for name in self._names(columns):
            hit = self.asked.source(name, columns)
            if hit is None:
                if name in self.asked.required:
                    raise _MissingColumnError(name)
                continue
            if hit.kind == "column":
                values = [_column(question, hit.name) for question in questions]
            elif hit.kind == "measured":
                values = [item.facts.get(hit.name) for item in items]
            else:
                owners: Sequence[Any] = items if hit.kind == "completion" else questions
                values = [getattr(owner, hit.name) for owner in owners]
            arguments[name] = values if hit.many else values[0]
        return arguments

    def _names(self, columns: Iterable[str]) -> Iterable[str]:
        names = dict.fromkeys((*self.asked.required, *self.asked.optional))
        if self.asked.everything:
            facts = (
                ("completion", "prompt") if self.asked.form == "row" else ("completions", "prompts")
            )
            more = ("messages", "finish", "truncated", "tokens", *self.asked.measured)
            names |= dict.fromkeys((*facts, *more, *columns))
        return names


class ContinuationsCall(RewardCall):
    """Calls the function that a reward's spec names in ``continuations``: of one completion at a time."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        if self.asked.form != "row" or self.asked.is_async:
            raise ComponentError(
                "the function that gives a reward's continuations takes one completion and returns them",
                remedy="name its parameter `completion`, and write it as a plain function",
            )

    def _read(self, value: object, unit: Unit) -> list[Outcome]:
        del unit
        return [read_continuations(value)]


def ahead_of(entry: Entry, settings: Mapping[str, Any]) -> ContinuationsCall | None:
    """What asks for the log-probs that this reward wants to know; None for most."""
    target = getattr(entry.spec, "continuations", "")
    if not target:
        return None
    itself = replace(entry, spec=replace(entry.spec, target=target))
    return ContinuationsCall(create(itself, settings))


class ReadingCall(RewardCall):
    """Calls the function that a spec names in ``answer`` or ``confidence``. An answer is an outcome's note."""

    def __init__(self, function: Callable[..., Any], kind: Reading) -> None:
        super().__init__(function)
        self._reads = {"answer": read_answer, "confidence": read_confidence}[kind]
        if self.asked != READING:
            raise ComponentError(
                f"the function that gives a completion's {kind} takes the completion and nothing else",
                remedy="write it as a plain function with the one parameter `completion`",
            )

    def _read(self, value: object, unit: Unit) -> list[Outcome]:
        del unit
        return [self._reads(value)]


def reading_of(entry: Entry, settings: Mapping[str, Any], kind: Reading) -> ReadingCall:
    """What reads this in a completion, of a reward whose spec names it.

    One that cannot be built fails in every call: it is asked for after the scores, which must not be lost.
    """
    itself = replace(entry, spec=replace(entry.spec, target=getattr(entry.spec, kind)))
    try:
        return ReadingCall(create(itself, settings), kind)
    except ComponentError as error:
        reason = error

    def fail(completion: str) -> None:
        del completion
        raise reason

    return ReadingCall(fail, kind)


class _MissingColumnError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"asks for the column {name!r}, which this row of the data set lacks")


def _column(question: Question, name: str) -> Any:
    try:
        return question.row[name]
    except KeyError:
        raise _MissingColumnError(name) from None


async def _wait(value: Any) -> Any:
    return await value


def timeout_fault(seconds: float) -> Fault:
    """The fault of a call that took longer than its deadline."""
    return Fault(
        kind="timeout",
        message=f"gave no answer within {seconds:g} s",
        remedy="make it faster, or raise scoring.timeout (seconds a completion)",
    )


def _memory_fault(error: BaseException) -> Fault:
    memory.release_reserve()
    # What the reward was holding would be held as long as the error is.
    traceback.clear_frames(error.__traceback__)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    limit = memory.limited()
    allowed = "" if limit is None else f": scoring.memory allows {limit:g} GiB"
    return Fault(
        kind="memory",
        message=f"ran out of memory{place}{allowed}",
        remedy="let it use less, or raise scoring.memory (GiB for a reward's process)",
    )


def _fault(error: BaseException) -> Fault:
    if isinstance(error, MemoryError):  # Python's own and numpy's
        return _memory_fault(error)
    if isinstance(error, _MissingColumnError):
        remedy = "map a column with dataset.columns, or use another reward"
        return Fault(kind="exception", message=str(error), remedy=remedy)
    if isinstance(error, GrpokitError):  # on purpose, with words of its own
        told = f"{error.fact} ({error.place})" if error.place else f"{error.fact}"
        kind: FaultKind = "stop" if isinstance(error, RewardError) else "exception"
        remedy = clean(str(error.remedy or "")[:TOLD])
        return Fault(kind=kind, message=clean(told[:TOLD]), remedy=remedy)
    lines = traceback.TracebackException.from_exception(error)
    text = "".join(lines.format_exception_only()).strip()
    if isinstance(error, RuntimeError) and "can't allocate memory" in text[:TOLD]:  # torch's
        return _memory_fault(error)
    frames = [frame for frame in lines.stack if Path(frame.filename) != Path(__file__)]
    if frames:
        lines.stack = traceback.StackSummary.from_list(frames)
    told = clean(text[:500])
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "the reward"
    return Fault(
        kind="exception",
        message=f"raised {told}{place}",
        remedy=f"fix {where}, or return None for completions to which the reward does not apply",
        trace=clean("".join(lines.format())[-TRACE_LIMIT:]),
    )
