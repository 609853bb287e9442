"""One reward's share of a step: what is answered, what was lost, what is still to do.

Deadlines. A call of the row form may take ``timeout`` seconds, one that scores n completions
``n x timeout``. Whoever takes longer is killed with everything it started, the completion (of the
group form: the group) has no score, and a fresh worker goes on with the rest. A batch call that
raises, hangs or dies is repeated one completion at a time, so that one bad row costs one row. After
``max(8, a quarter of the batch)`` lost workers the reward is not called again in that step.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grpokit.errors import ComponentError
from grpokit.registry.catalog import Entry
from grpokit.registry.resolve import FOREIGN
from grpokit.scoring.call import READING, Ask, Batch, timeout_fault
from grpokit.scoring.memory import MEMORY
from grpokit.scoring.process import WorkerProcess
from grpokit.scoring.signature import Asked
from grpokit.scoring.values import Fault, Outcome
from grpokit.scoring.wire import outcome_from_json, request

__all__ = ["Lane", "Ledger", "drive", "tend"]

START = 120.0
"""Seconds a worker may take to import its reward."""
POLL = 0.1
"""Seconds between two looks at the stop flag."""
LOSSES = 8
CAREFUL = 8
"""Coroutines at a time after an async reward's worker was lost; then one."""


class Ledger:
    """The outcomes of one batch under one reward, and the units that are still to be called.

    ``faults`` are completions for which the reward failed before: they have their outcome. ``ask``: what
    is wanted where it is not scores. ``size``: completions that there will be.
    """

    def __init__(
        self,
        batch: Batch,
        asked: Asked,
        faults: Mapping[int, Fault] | None = None,
        *,
        ask: Ask = "score",
    ) -> None:
        self.batch = batch
        self.size = len(batch.items)
        self.asked = asked
        self.ask = ask
        self.faults = faults or {}
        self.outcomes: list[Outcome | None] = [None] * len(batch.items)
        for position, fault in self.faults.items():
            self.outcomes[position] = Outcome(fault=fault)
        units = batch.units(asked)
        self.pending: deque[list[int]] = deque(
            unit for unit in units if not all(position in self.faults for position in unit)
        )

    def more(self, count: int) -> None:
        """The batch has so many completions more: a whole group."""
        start = len(self.outcomes)
        group = list(range(start, start + count))
        self.outcomes += [None] * count
        self.pending.extend([[each] for each in group] if self.asked.form == "row" else [group])

    def answer(self, unit: list[int], outcomes: Sequence[Outcome]) -> None:
        """Books a call's outcomes; a whole batch that raised is put back, row by row."""
        fault = outcomes[0].fault
        repeat = fault is not None and fault.kind in ("exception", "timeout", "crash", "memory")
        if repeat and self.asked.form == "batch" and len(unit) > 1:
            self.pending.extendleft([position] for position in reversed(unit))
            return
        for position, outcome in zip(unit, outcomes, strict=True):
            if position not in self.faults:
                self.outcomes[position] = outcome

    def lose(self, unit: list[int], fault: Fault) -> None:
        """Books a call that killed its worker."""
        self.answer(unit, [Outcome(fault=fault)] * len(unit))

    def give_up(self, fault: Fault) -> None:
        """Books every remaining call as failed."""
        while self.pending:
            for position in self.pending.popleft():
                self.outcomes[position] = Outcome(fault=self.faults.get(position, fault))


class Lane:
    """One reward and its worker."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        entry: Entry,
        settings: Mapping[str, Any],
        timeout: float,
        memory: float | None = MEMORY,
    ) -> None:
        self.memory = memory
        self.selector = selector
        self.entry = entry
        self.settings = settings
        self.timeout = timeout
        self.asked: Asked | None = None
        self.ahead: Asked | None = None
        self.ledger: Ledger | None = None
        self.process: WorkerProcess | None = None
        self.deadline = 0.0
        self.seconds = 0.0
        self._began = 0.0
        self._ready = False
        self._flight: dict[int, list[int]] = {}
        self._largest = 1
        self._sent = False
        self._lost = 0
        self._chunk: int | None = None

    def start(self) -> None:
        """Spawns the worker; it is ready when :attr:`asked` is known."""
        self.process = WorkerProcess(self.selector, self.entry, self.settings, self.memory)
        self._ready = False
        self.deadline = time.monotonic() + START

    def begin(
        self, batch: Batch, faults: Mapping[int, Fault] | None = None, *, ask: Ask = "score"
    ) -> None:
        """Takes a batch; :func:`drive` scores it, or asks for something else."""
        asked = {"score": self.asked, "continuations": self.ahead}.get(ask, READING)
        assert asked is not None
        self.ledger = Ledger(batch, asked, faults, ask=ask)
        self._lost = 0
        self._chunk = None
        self._began = time.monotonic()
        self.seconds = 0.0
        self._revive()
        self._send()

    def more(self, count: int) -> None:
        """The batch that it has taken has grown by a group of so many completions."""
        assert self.ledger is not None
        if not self.busy:
            self._began = time.monotonic() - self.seconds
            self._revive()
        self.ledger.more(count)
        self._send()

    def _revive(self) -> None:
        if self.process is not None and not self.process.alive():
            # It died between two batches: no completion is to blame.
            self.process.kill()
            self.process = None
        if self.process is None:
            self.start()

    @property
    def busy(self) -> bool:
        if self.process is not None and not self._ready:
            return True
        return self.ledger is not None and (self._sent or bool(self.ledger.pending))

    @property
    def late(self) -> bool:
        """Whether the worker is over its deadline."""
        return self.busy and time.monotonic() > self.deadline

    def receive(self, message: dict[str, Any] | None) -> None:
        """Takes one message of the worker; None means that it is gone.

        A reward may have written into the channel: what is no answer ends the worker.
        """
        if message is None or not self._expected(message):
            self._gone()
        elif "asked" in message:
            self.asked = Asked.from_json(message["asked"])
            self.ahead = Asked.from_json(message["ahead"]) if message["ahead"] else None
            self._ready = True
            self._send()
        elif "error" in message:
            raise ComponentError(**message["error"])
        elif "done" in message:
            self._sent = False
            self.seconds = time.monotonic() - self._began
            self._send()
        else:
            assert self.ledger is not None
            outcomes = [outcome_from_json(outcome) for outcome in message["outcomes"]]
            self.ledger.answer(self._flight.pop(message["unit"]), outcomes)
            full = next((o.fault for o in outcomes if o.fault and o.fault.kind == "memory"), None)
            if full is None:
                self._allow()
            else:
                self._renew(full)

    def _expected(self, message: dict[str, Any]) -> bool:
        """Whether the worker can have said this, at this moment."""
        if not self._ready:
            return "asked" in message or "error" in message
        if "done" in message:
            return self._sent and not self._flight
        outcomes = message.get("outcomes")
        unit = self._flight.get(message.get("unit", -1))
        return unit is not None and isinstance(outcomes, list) and len(outcomes) == len(unit)

    def look(self) -> None:
        """Notices a dead worker whose channel a process that it forked holds open."""
        process = self.process
        if not self.busy or process is None or process.alive():
            return
        for message in process.last_words():
            if self.process is process:
                self.receive(message)
        if self.process is process:
            self._gone()

    def expire(self) -> None:
        """Kills a worker that is over its deadline."""
        assert self.process is not None
        self.process.kill()
        if not self._ready:
            raise self._cannot_start(f"took more than {START:g} s to import", "")
        self._lose(timeout_fault)

    def finish(self) -> None:
        """Tells an idle worker to end, without waiting for it."""
        if self.process is not None and not self.busy:
            self.process.finish()

    def close(self) -> None:
        """Lets an idle worker end by itself; a busy one is killed."""
        if self.process is not None:
            (self.process.kill if self.busy else self.process.close)()
            self.process = None

    def abandon(self) -> None:
        """Drops the batch and the worker in the middle of it."""
        if self.busy and self.process is not None:
            self.process.kill()
            self.process = None
        self.ledger, self._sent, self._flight = None, False, {}

    def _send(self) -> None:
        ledger = self.ledger
        if ledger is None or not ledger.pending or not self._ready or self._sent:
            return
        assert self.process is not None
        units = list(ledger.pending)[: self._chunk]
        for _ in units:
            ledger.pending.popleft()
        self._flight = dict(enumerate(units))
        self._largest = max(map(len, units))
        self._sent = True
        self.process.send(request(ledger.batch, units, ledger.asked, self.timeout, ask=ledger.ask))
        self._allow()

    def _allow(self) -> None:
        """The next answer's deadline. Coroutines run together and end by their own clock first."""
        assert self.ledger is not None
        if self.ledger.asked.is_async:
            size, extra = self._largest, 1.0
        else:  # of thousands in flight, only the first is looked at after each answer
            size, extra = len(next(iter(self._flight.values()), (0,))), 0.0
        self.deadline = time.monotonic() + size * self.timeout + extra

    def _gone(self) -> None:
        assert self.process is not None
        how, errors = self.process.obituary()
        if not self._ready:
            raise self._cannot_start(how, errors)
        remedy = "run it alone with scoring.isolate: false to see where it ends"
        if how.endswith("SIGKILL"):
            remedy = "Linux does so when memory runs out: lower scoring.memory, or look who did it"
        fault = Fault(kind="crash", message=how, remedy=remedy, trace=errors[-4000:])
        self._lose(lambda _seconds: fault)

    def _lose(self, fault_of: Callable[[float], Fault]) -> None:
        """The worker is gone in the middle of a request: find the culprit, go on with the rest."""
        self.process, self._sent = None, False
        ledger, flight = self.ledger, list(self._flight.values())
        self._flight = {}
        if ledger is None:
            return
        if ledger.asked.is_async and len(flight) > 1:  # any of them can have been it
            ledger.pending.extendleft(reversed(flight))
            self._chunk = CAREFUL if len(flight) > CAREFUL else 1
        elif flight:
            ledger.pending.extendleft(reversed(flight[1:]))
            fault = fault_of(self.timeout * len(flight[0]))
            ledger.lose(flight[0], fault)
            self._chunk = CAREFUL if ledger.asked.is_async else None
            self._count_loss(ledger, fault)
        self.seconds = time.monotonic() - self._began
        if ledger.pending:
            self.start()

    def _renew(self, fault: Fault) -> None:
        """A fresh worker for one that has no memory left: what it holds, it would hold for ever."""
        assert self.process is not None
        assert self.ledger is not None
        self.process.kill()
        self.process, self._sent = None, False
        self.ledger.pending.extendleft(reversed(self._flight.values()))
        self._flight = {}
        self._count_loss(self.ledger, fault)
        self.seconds = time.monotonic() - self._began
        if self.ledger.pending:
            self.start()

    def _count_loss(self, ledger: Ledger, fault: Fault) -> None:
        self._lost += 1
        if self._lost >= max(LOSSES, ledger.size // 4):
            told = f"was not called: its worker was lost {self._lost} times ({fault.message})"
            ledger.give_up(Fault(kind=fault.kind, message=told, remedy=fault.remedy))

    def _cannot_start(self, how: str, errors: str) -> ComponentError:
        told = _last_words(errors)
        target = self.entry.spec.target
        look = f"look at what {target.removeprefix(FOREIGN)} does when it is imported"
        return ComponentError(
            f"the reward's process did not start: {how}" + (f": {told}" if told else ""),
            place=f"reward {self.entry.origin}",
            remedy=look
            if target.startswith(FOREIGN)
            else f"try `python -c 'import {target.partition(':')[0]}'`",
        )


def _last_words(errors: str) -> str:
    """What is worth telling of a standard error: of a crash in C its name and where it was."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith("Fatal Python error: "):
            where = next((each for each in lines[number:] if each.startswith("File ")), "")
            return f"{line.removeprefix('Fatal Python error: ')} ({where})"
    return lines[-1] if lines else ""


def drive(
    lanes: Sequence[Lane],
    selector: selectors.BaseSelector,
    should_stop: Callable[[], None] | None = None,
) -> None:
    """Serves all workers until every lane is ready and has no work left.

    Whatever is raised, the workers that were busy are gone before it leaves.
    """
    try:
        while any(lane.busy for lane in lanes):
            if should_stop is not None:
                should_stop()
            tend(lanes, selector, POLL)
    except BaseException:
        for lane in lanes:
            lane.abandon()
        raise


def tend(lanes: Sequence[Lane], selector: selectors.BaseSelector, seconds: float) -> None:
    """Serves all workers once, and waits so long for one that has something to say."""
    late = [lane for lane in lanes if lane.late]
    moved = _serve(lanes, selector, 0.0 if late else seconds)
    for lane in late:  # but what is there already was in time: the trainer itself was busy
        if lane.late and lane.process not in moved:
            lane.expire()


def _serve(
    lanes: Sequence[Lane], selector: selectors.BaseSelector, seconds: float
) -> set[WorkerProcess | None]:
    """One round of reading and writing; returns the workers that were heard or spoken to."""
    owners = {id(lane.process): lane for lane in lanes if lane.process is not None}
    moved: set[WorkerProcess | None] = set()
    for key, _ in selector.select(seconds):
        process: WorkerProcess = key.data
        lane = owners[id(process)]
        if lane.process is not process:  # replaced while this round was served
            continue
        if not process.only_prints(key.fileobj):
            moved.add(process)
        for message in process.handle(key.fileobj):
            if lane.process is process:
                lane.receive(message)
    for lane in lanes:
        if lane.process not in moved:
            lane.look()
    return moved
