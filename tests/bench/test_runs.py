"""Signals that come between two runs, when no run is there to obey them."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from grpokit.bench import runs
from grpokit.errors import Interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 2])
def test_a_signal_between_two_runs_is_obeyed(
    number: signal.Signals, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []

    class Stopping(runs.Watch):
        def end(self, finished: Any) -> None:
            done.append(finished)
            if len(done) == at:
                os.kill(os.getpid(), number)

    exam = SimpleNamespace(fingerprint={}, decides="number", threshold=1.0)
    monkeypatch.setattr(runs, "prepare_single", lambda *_, place: exam)
    monkeypatch.setattr(runs, "_base", lambda *_: {})
    monkeypatch.setattr(runs, "_cell", lambda cell, *_: cell)
    matrix: Any = SimpleNamespace(cells=("first", "second"), recipe=None)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=number.name) as caught:
        runs.run_all(matrix, Any, Stopping())  # type: ignore[arg-type]
    assert done == ["first", "second"][:at]
    assert "not repeated" in caught.value.remedy
    assert signal.getsignal(number) == before
