"""A real server that speaks the OpenAI protocol, and behaves as it is told."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import RewardSetup, Scorer


class Asked:
    """One request as the server saw it."""

    def __init__(self, body: dict[str, Any], headers: dict[str, str]) -> None:
        self.body = body
        self.headers = headers
        self.system: str = body["messages"][0]["content"]
        self.user: str = body["messages"][-1]["content"]
        nonce = re.search(r"<data-([0-9a-f]{16}) ", self.system)
        self.nonce = nonce[1] if nonce else ""

    def data(self, name: str) -> str:
        """What stands in the block ``name``."""
        mark = f'<data-{self.nonce} name="{name}">\n'
        return self.user.split(mark)[1].split(f"\n</data-{self.nonce}>")[0]

    def verdict(self, grade: object) -> str:
        return f"Let me see.\nVERDICT {self.nonce}: {grade}"


Behaviour = Callable[["JudgeServer", Asked], Any]


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not wait is part of the tests."""


class JudgeServer:
    """``behave(server, asked)`` returns an answer's text, or ``(status, headers, bytes)``, or None: reset."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.times: list[float] = []
        self.behave: Behaviour = lambda _, asked: asked.verdict(7)
        self.usage: dict[str, Any] | None = {"prompt_tokens": 100, "completion_tokens": 10}
        self.finish = "stop"
        self.busy = self.most_busy = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def do_POST(self) -> None:
                outer.serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        assert handler.path == "/v1/chat/completions"
        asked = Asked(body, dict(handler.headers))
        with self._lock:
            self.asked.append(asked)
            self.times.append(time.monotonic())
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        try:
            answer = self.behave(self, asked)
        finally:
            with self._lock:
                self.busy -= 1
        if answer is None:  # a reset, not an orderly end
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.rfile.close()
            handler.connection.close()
            handler.close_connection = True
            return
        status, headers, data = self._whole(answer)
        try:
            handler.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(data)
            handler.wfile.flush()
        except OSError:  # the client did not wait
            handler.close_connection = True

    def _whole(self, answer: Any) -> tuple[int, dict[str, str], bytes]:
        if isinstance(answer, tuple):
            return answer
        message = {"role": "assistant", "content": answer}
        data: dict[str, Any] = {"choices": [{"message": message, "finish_reason": self.finish}]}
        if self.usage is not None:
            data["usage"] = self.usage
        return 200, {"Content-Type": "application/json"}, json.dumps(data).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    found = JudgeServer()
    yield found
    found.close()


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog.load({"GRPOKIT_PLUGINS": "rewards-model,hf"})


@pytest.fixture
def settings_of(server: JudgeServer, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Settings of a judge at the server, with a file of its own."""

    def make(**changes: Any) -> dict[str, Any]:
        usual = {
            "base_url": server.url,
            "model": "judge-1",
            "rubric": "Is it right?",
            "cache": str(tmp_path / "judge.sqlite"),
        }
        return {**usual, **changes}

    return make


@pytest.fixture
def scorer_of(
    catalog: Catalog, settings_of: Callable[..., dict[str, Any]]
) -> Iterator[Callable[..., Scorer]]:
    """The reward, in this process, or in a real worker with its deadline: ``isolate=True``."""
    made: list[Scorer] = []

    def make(
        *, timeout: float = 10.0, isolate: bool = False, weight: float = 1.0, **changes: Any
    ) -> Scorer:
        entry = catalog.find("reward", "rewards-model/judge")
        setup = RewardSetup(
            name="judge", entry=entry, settings=settings_of(**changes), weight=weight
        )
        made.append(Scorer([setup], timeout=timeout, isolate=isolate))
        return made[-1]

    yield make
    for scorer in made:
        scorer.close()
