"""What the client of a server does with answers that no healthy vLLM gives; no vLLM."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from grpokit.api import GrpokitError, Interrupted, PreflightError
from grpokit_hf.vllm.sampler import Ask, EngineGone, Weights
from grpokit_hf.vllm.server import Server

Answer = tuple[int, str]
PATIENCE = 20.0
GOOD = {
    "choices": [{"token_ids": [5], "logprobs": {"token_logprobs": [-0.5]}, "finish_reason": "stop"}]
}


def healthy(path: str) -> Answer:
    found: dict[str, Any] = {
        "/version": {"version": "0.31.0"},
        "/v1/models": {"data": [{"id": "m"}]},
        "/v1/completions": GOOD,
    }
    return 200, json.dumps(found[path])


@contextmanager
def listening(
    answer: Callable[[str], Answer], between: Callable[[str], object] = str
) -> Iterator[str]:
    """``between`` is called after the head of an answer, before its body."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, text = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            between(self.path)
            self.wfile.write(text.encode())

        do_GET = do_POST = handle_any

        def log_message(self, *arguments: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hung up
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(rows: int) -> Ask:
    return Ask(prompts=[[1, 2]], owners=[0] * rows, settings=[{"seed": n} for n in range(rows)])


@pytest.mark.parametrize(
    "answer",
    [
        (404, "no such page"),
        (200, "<html>hello</html>"),
        (200, "{broken"),
        (200, "[]"),
        (200, '{"other": 1}'),
    ],
)
def test_another_service_at_the_address_is_said(answer) -> None:
    with (
        listening(lambda path: answer) as url,
        pytest.raises(PreflightError, match="is no vLLM server") as told,
    ):
        Server(url, PATIENCE)
    assert told.value.place == url
    assert "backend.with.vllm.url" in told.value.remedy


def test_a_key_that_is_missing_is_said() -> None:
    with listening(lambda path: (401, "no")) as url, pytest.raises(PreflightError) as told:
        Server(url, PATIENCE)
    assert "VLLM_API_KEY" in told.value.remedy


def test_a_long_completion_is_no_absence() -> None:
    """``patience`` is for a server that is away, not for one that computes."""

    def slow(path: str) -> Answer:
        if path == "/v1/completions":
            time.sleep(2.5)
        return healthy(path)

    with listening(slow) as url:
        (row,) = Server(url, 1.5).sample(ask(1), None)
    assert row.tokens == [5]


def test_an_answer_without_token_ids_is_a_sentence() -> None:
    def old(path: str) -> Answer:
        if path == "/v1/completions":
            return 200, json.dumps({"choices": [{"text": "x", "finish_reason": "stop"}]})
        return healthy(path)

    with listening(old) as url, pytest.raises(PreflightError, match="without token ids"):
        Server(url, PATIENCE).sample(ask(1), None)


def test_after_hanging_up_nothing_is_asked_any_more() -> None:
    """Also not by a thread that was about to connect; else the run would wait for its answer."""
    asked = []
    busy = threading.Event()

    def endless(path: str) -> Answer:
        if path == "/v1/completions":
            asked.append(path)
            busy.wait(30.0)
        return healthy(path)

    def stop() -> None:
        if asked:
            raise Interrupted(15)

    with listening(endless) as url:
        server = Server(url, PATIENCE)
        started = time.monotonic()
        with pytest.raises(Interrupted):
            server.sample(ask(300), stop)
        assert time.monotonic() - started < 15
        busy.set()
        server.halted = True  # as a thread finds it that comes too late
        with pytest.raises(EngineGone, match="hung up"):
            server._call("POST", "/v1/models", {})
        assert len(asked) < 300
        server.halted = False
        assert server.sample(ask(1), None)[0].tokens == [5]


def test_hanging_up_ends_an_answer_that_has_begun() -> None:
    """From the head of a last answer on, the connection object has no socket any more."""
    reading, busy = threading.Event(), threading.Event()

    def stall(path: str) -> None:
        if path == "/v1/completions":
            reading.set()
            busy.wait(30.0)

    def stop() -> None:
        if reading.wait(5.0):
            time.sleep(0.2)  # the head is read
            raise Interrupted(15)

    with listening(healthy, between=stall) as url:
        server = Server(url, PATIENCE)
        started = time.monotonic()
        with pytest.raises(Interrupted):
            server.sample(ask(1), stop)
        assert time.monotonic() - started < 15
        busy.set()


def test_a_row_is_told_of_while_another_is_drawn() -> None:
    """The last row is answered when somebody has heard of the others, from the thread that called."""
    heard, asked = threading.Event(), []
    told: list[tuple[int, Any]] = []

    def last_waits(path: str) -> Answer:
        if path == "/v1/completions":
            asked.append(path)
            if len(asked) == 1:
                heard.wait(30.0)
        return healthy(path)

    def take(place: int, row: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        told.append((place, row))
        if len(told) == 3:
            heard.set()

    with listening(last_waits) as url:
        rows = Server(url, PATIENCE).sample(ask(4), None, take)
    assert heard.is_set()
    assert sorted(place for place, _ in told) == [0, 1, 2, 3]
    assert all(rows[place] is row for place, row in told)


def test_waiting_for_a_server_can_be_stopped() -> None:
    with listening(healthy) as url:
        server = Server(url, 60.0)
    started = time.monotonic()

    def stop() -> None:
        if time.monotonic() > started + 0.2:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        server.restart(stop)
    assert time.monotonic() - started < 5


def test_each_run_has_names_of_its_own() -> None:
    """One that was killed has left its adapters on the server, and process ids come again."""
    with listening(healthy) as url:
        assert Server(url, PATIENCE).token != Server(url, PATIENCE).token


def test_a_cache_that_was_not_emptied_is_an_error() -> None:
    def stuck(path: str) -> Answer:
        if path.startswith("/reset_prefix_cache"):
            return 200, '{"success": false}'
        return (200, "{}") if path == "/collective_rpc" else healthy(path)

    with listening(stuck) as url, pytest.raises(GrpokitError, match="did not forget"):
        Server(url, PATIENCE).load(Weights(version=1, model=Path("/m")))
