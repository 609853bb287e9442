"""vLLM in a process of this run; see :mod:`grpokit_hf.vllm.host` for the other side."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpokit.api import GrpokitError, PreflightError, ShouldStop
from grpokit_hf.nn.decode import Drawn
from grpokit_hf.vllm.requests import drawn
from grpokit_hf.vllm.sampler import Ask, Ended, EngineGone, Weights

__all__ = ["Engine", "Start"]

POLL = 0.02
"""Seconds between two looks at ``should_stop`` while vLLM computes."""
GRACE = 3.0
HOST = "grpokit_hf.vllm.host"


@dataclass(frozen=True, kw_only=True)
class Start:
    """What the process is started with."""

    options: Mapping[str, Any]
    environment: Mapping[str, str]
    log: Path
    patience: float
    sleep_level: int = 0


class Engine:
    """A ``Sampler`` over pipes. The process starts at once; the first use waits until it is up."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.version = ""
        self.asleep = False
        self.numbers = 0
        self.keep_log = False
        self._spawn()

    def _spawn(self) -> None:
        read_end, self._out = os.pipe()
        self._in, write_end = os.pipe()
        self._rest = b""
        self._up = False
        try:
            with self.start.log.open("ab") as log:
                self.process = subprocess.Popen(  # noqa: S603 - this interpreter, our module
                    [sys.executable, "-m", HOST, str(read_end), str(write_end), str(os.getpid())],
                    pass_fds=(read_end, write_end),
                    env=dict(self.start.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for the run, which then ends this
                )
        finally:
            os.close(read_end)
            os.close(write_end)
        self._send({"options": dict(self.start.options)})

    # ------------------------------------------------------------- messages

    def _send(self, message: Mapping[str, Any]) -> None:
        """Writes a line, and reads meanwhile: the answer of a call that was broken off may be on its
        way, and two full pipes would wait for each other.
        """
        data = (json.dumps(message) + "\n").encode()
        try:
            while data:
                readable, writable, _ = select.select([self._in], [self._out], [])
                if readable:
                    self._read()
                if writable:
                    data = data[os.write(self._out, data[: select.PIPE_BUF]) :]
        except OSError as error:
            raise self._gone() from error

    def _read(self) -> None:
        data = os.read(self._in, 1 << 20)
        if not data:
            raise self._gone()
        self._rest += data

    def _receive(self, seconds: float | None, should_stop: ShouldStop | None) -> dict[str, Any]:
        """The next line. ``should_stop`` is asked until it comes."""
        until = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._rest:
            if should_stop is not None:
                should_stop()
            if until is not None and time.monotonic() > until:
                raise self._failed(f"vLLM did not start within {seconds:g} seconds")
            if not select.select([self._in], [], [], POLL)[0]:
                continue
            self._read()
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def ready(self, should_stop: ShouldStop | None = None) -> None:
        """Waits until the model is loaded."""
        if self._up:
            return
        answer = self._receive(self.start.patience, should_stop)
        if "error" in answer:
            raise self._failed(f"vLLM did not start: {answer['error']}")
        self.version = answer["version"]
        self._up = True

    def _ask(
        self,
        message: Mapping[str, Any],
        should_stop: ShouldStop | None = None,
        take: Callable[[int, Any], None] | None = None,
    ) -> Any:
        """The answer to a message. ``take`` gets the rows that come before it."""
        self.ready(should_stop)
        self.numbers += 1
        self._send({"id": self.numbers, **message})
        try:
            while True:
                answer = self._receive(None, should_stop)
                if answer.get("id") != self.numbers:
                    continue  # of a call that was broken off
                if "ended" not in answer:
                    break
                assert take is not None
                for place, row in answer["ended"]:
                    take(place, row)
                if should_stop is not None:  # lines may come so fast that none is waited for
                    should_stop()
        except EngineGone:
            raise
        except BaseException:
            self._send({"op": "abort"})
            raise
        if "fatal" in answer:
            raise self._gone(answer["fatal"])
        if "error" in answer:
            raise self._failed(f"vLLM refused: {answer['error']}")
        return answer

    def _gone(self, reason: str = "") -> EngineGone:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=GRACE)
        self.keep_log = True
        code = self.process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if code is None:
            how = "it closed its pipes and still runs"
        fact = f"the vLLM engine ended ({reason or how})"
        return EngineGone(fact, place=str(self.start.log))

    def _failed(self, fact: str) -> GrpokitError:
        self.keep_log = True
        return PreflightError(
            fact,
            place=str(self.start.log),
            remedy="read there what vLLM said; less memory: lower backend.with.vllm.max_len or "
            "backend.with.vllm.memory; without vLLM: `--set backend.with.rollouts=transformers`",
        )

    # ------------------------------------------------------------- what a sampler does

    def sample(
        self, ask: Ask, should_stop: ShouldStop | None, ended: Ended | None = None
    ) -> list[Drawn]:
        message = {
            "op": "sample",
            "prompts": [list(ids) for ids in ask.prompts],
            "owners": list(ask.owners),
            "settings": [dict(settings) for settings in ask.settings],
            "tell": ended is not None,
            "until": None if ask.until is None else dict(ask.until),
        }
        found: dict[int, Drawn] = {}

        def take(place: int, row: Sequence[Any]) -> None:
            found[place] = drawn(*row, with_logprobs=ask.with_logprobs)
            if ended is not None:
                ended(place, found[place])

        answer = self._ask(message, should_stop, take)
        for place, row in enumerate(answer.get("rows", ())):  # none where all were told of
            take(place, row)
        return [found[place] for place in range(len(ask.owners))]

    def score(self, ids: Sequence[int]) -> list[float]:
        found: list[float] = self._ask({"op": "score", "ids": list(ids)})["logprobs"]
        return found

    def load(self, weights: Weights) -> None:
        if weights.model is not None:
            self._ask({"op": "reload", "folder": str(weights.model)})
        elif weights.adapter is not None:
            folder = str(weights.adapter)
            self._ask({"op": "adapter", "folder": folder, "version": weights.version})

    def sleep(self) -> None:
        if self.start.sleep_level and not self.asleep:
            self._ask({"op": "sleep", "level": self.start.sleep_level})
            self.asleep = True

    def wake(self) -> None:
        if self.asleep:
            self._ask({"op": "wake"})
            self.asleep = False

    def restart(self, should_stop: ShouldStop | None = None) -> None:
        self._end()
        self.asleep = False
        self._spawn()
        self.ready(should_stop)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"engine": "vllm", "version": self.version}

    # ------------------------------------------------------------- the end

    def _end(self) -> None:
        """The process and whatever it started are gone afterwards."""
        for descriptor in (self._out, self._in):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=GRACE)  # the end of its input ends it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        if self._out >= 0:
            self._end()
            self._out = self._in = -1
            if not self.keep_log:
                self.start.log.unlink(missing_ok=True)
