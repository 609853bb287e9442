"""Where a contestant's time goes, and its memory. Torch is asked only if the contestant brought it."""

from __future__ import annotations

import gc
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grpokit.spec.stepwork import STAGES

__all__ = ["Watch", "peak_memory", "resident_memory"]

STATUS = Path("/proc/self/status")


class Watch:
    """Implements ``StepWatch``. A stage within a stage is taken out of the outer one.

    Attributes:
        steps: seconds by stage of each step that is done.
    """

    def __init__(self, tell: Callable[[str], None] = lambda _: None) -> None:
        self.tell = tell
        self.steps: list[dict[str, float]] = []
        self.data: dict[str, Any] = {"facts": {}}
        self._now: dict[str, float] | None = None
        self._stack: list[float] = []
        self._began = 0.0

    def ready(self) -> None:
        # Python's collector looks through all that was imported, some tenths of a second, in
        # whichever step comes next: better now than in one that counts.
        gc.collect()
        self.data["memory_loaded"] = resident_memory()
        self.data["memory_loading"] = peak_memory()
        self.data["cuda_loaded"] = _cuda("memory_allocated")
        if _cuda_used() is not None:
            _cuda_used().cuda.reset_peak_memory_stats()
        self.tell("loaded")

    def begin(self) -> None:
        _wait()
        self._now = defaultdict(float)
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self._now is None:  # between two steps nothing counts
            yield
            return
        _wait()
        start = time.perf_counter()
        self._stack.append(0.0)
        try:
            yield
        finally:
            _wait()
            took = time.perf_counter() - start
            within = self._stack.pop()
            if self._now is not None:
                self._now[name] += took - within
            if self._stack:
                self._stack[-1] += took

    def move(self, source: str, target: str, seconds: float) -> None:
        if self._now is not None:
            self._now[source] -= seconds
            self._now[target] += seconds

    def end(self) -> None:
        if self._now is None:
            return
        _wait()
        total = time.perf_counter() - self._began
        found = {name: max(0.0, seconds) for name, seconds in self._now.items()}
        found["other"] = max(0.0, total - sum(found.values()))
        self.steps.append({**found, "total": total})
        self._now = None
        self.data["memory_peak"] = peak_memory()
        self.data["cuda_peak"] = _cuda("max_memory_allocated")
        self.tell(f"step {len(self.steps)}: {total:.1f} s")

    def gradient(self, norm: float, samples: Mapping[str, Sequence[float]]) -> None:
        self.data.setdefault("grad_norm", norm)
        self.data.setdefault("gradients", {name: list(each) for name, each in samples.items()})

    def loss(self, value: float) -> None:
        self.data.setdefault("loss", value)

    def floor(self, seconds: float) -> None:
        if math.isfinite(seconds):
            self.data["floor"] = seconds

    def fact(self, name: str, value: Any) -> None:
        self.data["facts"][name] = value

    def result(self) -> dict[str, Any]:
        """What the result file holds."""
        unknown = {name for step in self.steps for name in step} - {*STAGES, "update"}
        return {
            **self.data,
            "steps": self.steps,
            "further_stages": sorted(unknown - {"other", "total"}),
        }


def peak_memory() -> int | None:
    """Most bytes of main memory that this process held so far."""
    return _status("VmHWM")


def resident_memory() -> int | None:
    """Bytes of main memory that this process holds."""
    return _status("VmRSS")


def _status(name: str) -> int | None:
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return None
    found = [line.split() for line in lines if line.startswith(f"{name}:")]
    return int(found[0][1]) * 1024 if found else None


def _cuda_used() -> Any:
    """Torch, if it is here and works on a GPU."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return torch if cuda is not None and cuda.is_available() and cuda.is_initialized() else None


def _cuda(name: str) -> int | None:
    torch = _cuda_used()
    return None if torch is None else int(getattr(torch.cuda, name)())


def _wait() -> None:
    """A GPU computes behind the caller's back; a time is one only when it is done."""
    torch = _cuda_used()
    if torch is not None:
        torch.cuda.synchronize()
