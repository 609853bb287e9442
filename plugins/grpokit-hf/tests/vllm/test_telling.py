"""Rows that are told of when they end: both sides of the pipes, over an engine that follows a script.

It stands where vLLM would, so that an end, a failure and a wait come at a chosen moment. The tests share
it and run in their order. Real vLLM is in test_engine.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grpokit.api import Interrupted, NonFiniteError
from grpokit_hf.nn.decode import Drawn
from grpokit_hf.vllm.engine import Engine, Start
from grpokit_hf.vllm.sampler import Ask, EngineGone

SCRIPTED = '''
"""A row ends after ``length`` tokens, then does what it is told."""
import time
from pathlib import Path
from types import SimpleNamespace as Some

__version__ = "scripted"
HERE = Path(__file__).parent

def SamplingParams(*, length, does="", detokenize):
    return Some(length=length, does=does, age=0)

class LLM:
    def __init__(self):
        self.llm_engine = self
        self.rows = {}

    def add_request(self, name, prompt, params, lora_request):
        self.rows[name] = params

    def has_unfinished_requests(self):
        return bool(self.rows)

    def abort_request(self, names):
        for name in names:
            self.rows.pop(name, None)

    def step(self):
        time.sleep(0.001)
        return [one for name, row in list(self.rows.items()) for one in self.grow(name, row)]

    def grow(self, name, row):
        if row.age < row.length:
            row.age += 1
        if row.age < row.length or row.does == "wait" and not (HERE / "go").exists():
            return
        if row.does == "fail":
            raise RuntimeError("no such kernel")
        del self.rows[name]
        value = float("nan") if row.does == "nan" else -0.5
        rest = [{row.length: Some(logprob=value)}] * row.length
        done = Some(token_ids=[row.length] * row.length, logprobs=rest, finish_reason="length")
        yield Some(request_id=name, finished=True, outputs=[done])
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scripted") / "vllm"
    made.mkdir()
    (made / "__init__.py").write_text(SCRIPTED)
    (made / "exceptions.py").write_text("VLLMClientError = LookupError")
    return made


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    environment = {**os.environ, "PYTHONPATH": str(folder.parent)}
    log = folder.parent / "log"
    engine = Engine(Start(options={}, environment=environment, log=log, patience=60.0))
    yield engine
    engine.close()


def ask(*rows: dict[str, Any]) -> Ask:
    return Ask(prompts=[[1, 2]], owners=[0] * len(rows), settings=rows)


def lengths(rows: list[Drawn]) -> list[int]:
    return [len(row.tokens) for row in rows]


def test_a_row_is_told_of_while_another_goes_on(engine: Engine, folder: Path) -> None:
    """The second row cannot end before somebody has heard of the others."""
    told: list[tuple[int, Drawn]] = []

    def take(place: int, row: Drawn) -> None:
        told.append((place, row))
        if {place for place, _ in told} == {0, 2, 3}:
            (folder / "go").touch()

    wanted = ask({"length": 3}, {"length": 1, "does": "wait"}, {"length": 2}, {"length": 2})
    rows = engine.sample(wanted, None, take)
    assert lengths(rows) == [3, 1, 2, 2]
    assert [place for place, _ in told] == [2, 3, 0, 1]
    assert [row for _, row in sorted(told, key=lambda each: each[0])] == rows
    assert rows == engine.sample(wanted, None)


def test_nobody_who_listens_means_one_line(engine: Engine, monkeypatch) -> None:
    lines: list[dict[str, Any]] = []
    receive = engine._receive

    def counted(*arguments: Any) -> dict[str, Any]:
        lines.append(receive(*arguments))
        return lines[-1]

    monkeypatch.setattr(engine, "_receive", counted)
    wanted = ask(*({"length": length} for length in (1, 2, 2, 3)))
    engine.sample(wanted, None)
    assert [sorted(line) for line in lines] == [["id", "rows"]]
    lines.clear()
    engine.sample(wanted, None, lambda *_: None)
    assert [len(line.get("ended", ())) for line in lines] == [1, 2, 1, 0]  # rows that end together


def test_an_interrupt_is_taken_between_lines_that_do_not_stop(engine: Engine) -> None:
    told: list[int] = []

    def stop() -> None:
        if len(told) >= 5:
            raise Interrupted(15)

    endless = ask(*({"length": length} for length in range(1, 200)), {"length": 10**9})
    with pytest.raises(Interrupted):
        engine.sample(endless, stop, lambda place, _: told.append(place))
    assert told == [0, 1, 2, 3, 4]
    told.clear()
    engine.sample(ask({"length": 2}, {"length": 1}), stop, lambda place, _: told.append(place))
    assert told == [1, 0]  # rows of this call alone


@pytest.mark.parametrize("does", ["nan", ""])
def test_what_listening_raises_ends_the_call_and_no_more(engine: Engine, does: str) -> None:
    """A broken model shows as soon as its first row ends."""

    def refuse(place: int, row: Drawn) -> None:
        raise KeyError(place)

    kind = NonFiniteError if does == "nan" else KeyError
    with pytest.raises(kind):
        engine.sample(ask({"length": 1, "does": does}, {"length": 10**9}), None, refuse)
    assert lengths(engine.sample(ask({"length": 3}), None)) == [3]


def test_an_engine_that_fails_half_way_is_gone(engine: Engine) -> None:
    told: list[int] = []
    failing = ask({"length": 9, "does": "fail"}, {"length": 2})
    with pytest.raises(EngineGone, match="no such kernel"):
        engine.sample(failing, None, lambda place, _: told.append(place))
    assert told == [1]
