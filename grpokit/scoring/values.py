"""What a reward may return. Lossless values are converted; everything else is a failure, not 0.0.

Accepted: None (does not apply), bool, int, float, Fraction, Decimal, anything with an empty
``shape`` and ``item()`` (numpy scalars, 0-d tensors), and :class:`grpokit.api.Score`. NaN,
infinities and magnitudes beyond float32 are failures: advantages are computed in float32.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Number, Real
from typing import Any, Literal

from grpokit.spec.contracts import Score
from grpokit.spec.flow import Continuation

__all__ = [
    "Fault",
    "FaultKind",
    "Outcome",
    "clean",
    "read_answer",
    "read_confidence",
    "read_continuations",
    "read_many",
    "read_one",
]

FaultKind = Literal[
    "exception", "timeout", "non-finite", "type", "length", "crash", "memory", "stop"
]
LARGEST = 3.4028234663852886e38
"""The largest float32."""
NOTE = 2000
"""Characters of a note, and of a component's name, that are kept."""
PARTS = 100
"""Components of one score."""
CONTINUATIONS = 16
"""Continuations of one completion, each of which costs a row of a forward pass."""
CHARACTERS = 2_000_000
"""Of the continuations of one completion together: the trainer makes tokens of them all."""
NUMBER = (
    "return a number, None for 'does not apply', or grpokit.api.Score(value=..., components=...)"
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why one completion has no score."""

    kind: FaultKind
    message: str
    remedy: str = ""
    trace: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one reward said about one completion: a score, an abstention (None) or a fault.

    Or, where it was asked for them, the continuations whose log-probs it wants to know; or the answer
    that it reads in the completion, as the note.
    """

    value: float | None = None
    components: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    fault: Fault | None = None
    continuations: tuple[Continuation, ...] = ()


class _BadValueError(Exception):
    def __init__(self, kind: FaultKind, message: str, remedy: str) -> None:
        super().__init__(message)
        self.fault = Fault(kind=kind, message=message, remedy=remedy)


def clean(text: str) -> str:
    """Foreign text that can be written as UTF-8: lone surrogates become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_one(value: object) -> Outcome:
    """One returned value as an outcome."""
    # A value is foreign code as well: what it says about itself may raise.
    try:
        return _read(value)
    except _BadValueError as bad:
        return Outcome(fault=bad.fault)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # it becomes a fault of this row
        return Outcome(fault=_unreadable(value, error))


def read_many(values: object, count: int) -> list[Outcome]:
    """The list that a batch or group form returned, one outcome for each of ``count`` completions.

    A list of the wrong length says nothing certain about any row, so all of them fail.
    """
    try:
        items = _items(values, count)
    except _BadValueError as bad:
        return [Outcome(fault=bad.fault)] * count
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # as in read_one
        return [Outcome(fault=_unreadable(values, error))] * count
    return [read_one(item) for item in items]


def read_continuations(value: object) -> Outcome:
    """The continuations of one completion; None is none."""
    if value is None:
        return Outcome()
    items = value if isinstance(value, list | tuple) else ()
    texts = [one for one in items if isinstance(one, Continuation)]
    if not isinstance(value, list | tuple) or len(texts) < len(items):
        told, remedy = f"gave {_describe(value)}", "return a list of grpokit.api.Continuation"
    elif len(texts) > CONTINUATIONS:
        told, remedy = f"gave {len(texts)}", f"give at most {CONTINUATIONS} a completion"
    elif sum(map(_size, texts)) > CHARACTERS:
        told = f"are longer than {CHARACTERS:,} characters"
        remedy = "cut what stands before the target"
    elif not all(map(_encodable, texts)):
        told, remedy = "gave a text that no tokenizer reads", "leave lone surrogates out"
    else:
        return Outcome(continuations=tuple(texts))
    return Outcome(fault=Fault(kind="type", message=f"its continuations: {told}", remedy=remedy))


def read_answer(value: object) -> Outcome:
    """The answer that was read in a completion, as a note; None and an empty text are none.

    Of a longer one its beginning and a hash are kept, so that different ones stay different.
    """
    if value is None:
        return Outcome()
    if not isinstance(value, str):
        told = f"its answer is {_describe(value)}"
        return Outcome(fault=Fault(kind="type", message=told, remedy="return a text or None"))
    text = clean(str.__str__(value)).strip()
    if len(text) > NOTE:
        mark = hashlib.sha256(text.encode()).hexdigest()[:16]
        text = f"{text[: NOTE - 20]}... {mark}"
    return Outcome(note=text)


def read_confidence(value: object) -> Outcome:
    """The chance of being right that a completion states; None where it states none."""
    found = read_one(value)
    if found.value is None or 0 <= found.value <= 1:
        return found
    told = f"its confidence is {found.value:g}"
    return Outcome(fault=Fault(kind="type", message=told, remedy="return 0 to 1, or None"))


def _size(one: Continuation) -> int:
    return len(str(one.before)) + len(str(one.target))


def _encodable(one: Continuation) -> bool:
    before: object = one.before
    target: object = one.target
    if not isinstance(before, str) or not isinstance(target, str):
        return False
    return clean(before) == before and clean(target) == target


def _unreadable(value: object, error: Exception) -> Fault:
    told = clean(f"{type(error).__name__}: {error}"[:500])
    return Fault(
        kind="type",
        message=f"returned a {_kind(value)} that cannot be read: it raised {told}",
        remedy=NUMBER,
    )


def _items(values: object, count: int) -> Sequence[object]:
    shape = getattr(values, "shape", None)
    to_list: Callable[[], Any] | None = getattr(values, "tolist", None)
    if shape is not None and to_list is not None and len(shape) == 1:
        values = to_list()
    if isinstance(values, list | tuple):
        if len(values) == count:
            return values
        raise _BadValueError(
            "length",
            f"returned {len(values)} scores for {count} completions",
            "return one entry a completion, None where the reward does not apply",
        )
    raise _BadValueError(
        "type",
        f"returned {_describe(values)} where a list of scores is expected",
        "a reward with the parameter `completions` returns a list with one score a completion",
    )


def _read(value: object) -> Outcome:
    if value is None:
        return Outcome()
    if isinstance(value, Score):
        components = _parts(value.components)
        note = clean(value.note[:NOTE]) if isinstance(value.note, str) else ""
        if value.value is None:
            return Outcome(components=components, note=note)
        return Outcome(value=_number(value.value, ""), components=components, note=note)
    return Outcome(value=_number(value, ""))


def _parts(components: Mapping[str, Any]) -> dict[str, float]:
    """The components. Each is a metric of the run, so there cannot be one a completion."""
    if len(components) > PARTS:
        raise _BadValueError(
            "type",
            f"returned a Score of {len(components)} components, {PARTS} are allowed",
            "name what is measured in every completion; put the rest into `note`",
        )
    names = {name: clean(str(name)[:NOTE]) for name in components}
    return {names[name]: _number(part, names[name]) for name, part in components.items()}


def _number(value: object, component: str) -> float:
    item: Callable[[], Any] | None = getattr(value, "item", None)
    if item is not None and tuple(getattr(value, "shape", (0,))) == ():
        value = item()
    what = f"component {component!r} is" if component else "returned"
    if not _is_real(value):
        raise _BadValueError(
            "type",
            f"{what} {_describe(value)} where a number is expected",
            NUMBER,
        )
    try:
        number = float(value)  # type: ignore[arg-type]  # a Real or a Decimal
    except (OverflowError, ValueError):
        number = math.inf
    if not abs(number) <= LARGEST:  # NaN compares false
        told = f"{number}" if math.isnan(number) else "a number beyond float32"
        raise _BadValueError(
            "non-finite",
            f"{what} {told}",
            "return None where there is no score; check divisions and logarithms of 0",
        )
    return number


def _is_real(value: object) -> bool:
    # Decimal is a Number and no Real; complex is a Number too.
    return isinstance(value, Real) or (isinstance(value, Number) and not isinstance(value, complex))


def _kind(value: object) -> str:
    return clean(type(value).__name__[:80])


def _describe(value: object) -> str:
    kind = _kind(value)
    if isinstance(value, str):
        return clean(f"the text {str.__str__(value)[:40]!r}")
    if isinstance(value, list | tuple | dict | set):
        return f"a {kind} of {len(value)}"
    shape = getattr(value, "shape", None)
    return f"a {kind} of shape {tuple(shape)}" if shape is not None else f"a {kind}"
