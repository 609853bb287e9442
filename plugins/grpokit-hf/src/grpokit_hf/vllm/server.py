"""A running ``vllm serve``, on this machine or another: the same as the engine, over HTTP.

Every completion is a request of its own, because each has its own seed. The server schedules them
together. It must be started with leave to take adapters (VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and
--enable-lora) or to reload weights (VLLM_SERVER_DEV_MODE=1), and see the folder that the run writes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

from grpokit.api import GrpokitError, PreflightError, ShouldStop
from grpokit_hf.nn.decode import Drawn
from grpokit_hf.vllm.requests import drawn
from grpokit_hf.vllm.sampler import Ask, Ended, EngineGone, Weights

__all__ = ["Server"]

POLL = 0.05
CONNECTIONS = 64
GOODBYE = 5.0
"""Seconds that the server has to forget an adapter when a run ends."""
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
"""A machine that is gone is noticed after a minute and a half, however long its answer may take."""
PLAIN = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Said in every request: a server takes its defaults from the model's generation config."""


class Server:
    """A ``Sampler`` over HTTP."""

    def __init__(self, url: str, patience: float, *, sleep_level: int = 0) -> None:
        parts = urlsplit(url)
        self.url = url
        self.https = parts.scheme == "https"
        self.address = (parts.hostname or "127.0.0.1", parts.port or (443 if self.https else 80))
        self.prefix = parts.path.rstrip("/").removesuffix("/v1")
        self.patience = patience
        self.sleep_level = sleep_level
        self.asleep = False
        self.open: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.halted = False
        self.token = secrets.token_hex(4)
        self.adapter: str | None = None
        self.base = ""
        self.version = ""
        self._greet()

    def _greet(self) -> None:
        """The name of the server's model and its version."""
        try:
            self.version = str(self._call("GET", "/version", seconds=self.patience)["version"])
            models = self._call("GET", "/v1/models", seconds=self.patience)["data"]
            self.base = next(str(item["id"]) for item in models if not item.get("parent"))
        except (LookupError, TypeError, StopIteration) as error:
            raise self._stranger() from error

    def _stranger(self) -> GrpokitError:
        return PreflightError(
            "what answers there is no vLLM server",
            place=self.url,
            remedy="set backend.with.vllm.url to the address that `vllm serve` says it listens at",
        )

    # ------------------------------------------------------------- requests

    def _connect(self, seconds: float | None) -> http.client.HTTPConnection:
        """A connection whose socket ``_hang_up`` knows. ``seconds`` for an answer; None is as long as it takes."""
        kind = http.client.HTTPSConnection if self.https else http.client.HTTPConnection
        connection = kind(*self.address, timeout=seconds or self.patience)
        connection.connect()
        connection.sock.settimeout(seconds)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):  # not on every system
                connection.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        with self.lock:
            if self.halted:
                connection.close()
                raise ConnectionError("hung up")
            self.open.add(connection.sock)  # a connection forgets its socket when that breaks
        return connection

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float | None = None,
    ) -> Any:
        """One request. The server's absence is :class:`EngineGone`, its refusal an error."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("VLLM_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        connection = line = None
        try:
            connection = self._connect(seconds)
            line = connection.sock
            data = None if body is None else json.dumps(body)
            connection.request(method, self.prefix + path, data, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise EngineGone(
                f"the vLLM server does not answer ({error or type(error).__name__})", place=self.url
            ) from error
        finally:
            if connection is not None and line is not None:
                with self.lock:
                    self.open.discard(line)
                connection.close()
        if answer.status >= 400:
            raise self._refused(path, answer.status, text)
        try:
            return json.loads(text) if text else {}
        except ValueError:
            return {}  # the adapters' end points answer with a sentence

    def _refused(self, path: str, status: int, text: str) -> GrpokitError:
        if status >= 500 and "EngineDead" in text:
            return EngineGone("the vLLM engine behind the server ended", place=self.url)
        remedy = "look into the server's output"
        if status in (401, 403):
            remedy = "set the variable VLLM_API_KEY to the server's key"
        elif path == "/version":
            return self._stranger()
        elif status == 404 and "lora" in path:
            remedy = "start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora"
        elif status == 404 and "/v1/" not in path:
            remedy = "start it with VLLM_SERVER_DEV_MODE=1"
        words = " ".join(text.split())[:300]
        return PreflightError(
            f"the vLLM server refused {path} (HTTP {status}): {words}",
            place=self.url,
            remedy=remedy,
        )

    @property
    def model(self) -> str:
        return self.adapter or self.base

    # ------------------------------------------------------------- what a sampler does

    def sample(
        self, ask: Ask, should_stop: ShouldStop | None, ended: Ended | None = None
    ) -> list[Drawn]:
        with ThreadPoolExecutor(min(CONNECTIONS, max(1, len(ask.owners)))) as pool:
            futures = [
                pool.submit(self._one, ask.prompts[owner], settings, ask)
                for owner, settings in zip(ask.owners, ask.settings, strict=True)
            ]
            try:
                self._await(futures, should_stop, ended)
                return [future.result() for future in futures]
            except BaseException:
                for future in futures:
                    future.cancel()
                self._hang_up()
                wait(futures)
                self.halted = False
                raise

    @staticmethod
    def _await(
        futures: Sequence[Future[Drawn]], should_stop: ShouldStop | None, ended: Ended | None
    ) -> None:
        places = {future: place for place, future in enumerate(futures)}
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=POLL, return_when=FIRST_EXCEPTION)
            for future in sorted(done, key=places.__getitem__):
                row = future.result()
                if ended is not None:
                    ended(places[future], row)
            if should_stop is not None:
                should_stop()

    def _hang_up(self) -> None:
        """The server ends a completion whose connection is closed; none is opened any more."""
        with self.lock:
            self.halted = True
            for line in self.open:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def _one(self, ids: Sequence[int], settings: Mapping[str, Any], ask: Ask) -> Drawn:
        body = {
            "model": self.model,
            "prompt": list(ids),
            "return_token_ids": True,
            **PLAIN,
            **settings,
        }
        choice = self._call("POST", "/v1/completions", body)["choices"][0]
        try:
            tokens = [int(token) for token in choice["token_ids"]]
            logprobs = [float(value) for value in choice["logprobs"]["token_logprobs"]]
        except (LookupError, TypeError) as error:
            raise PreflightError(
                f"the server (vLLM {self.version}) answers without token ids or log-probabilities",
                place=self.url,
                remedy="run a version on it that was tested; docs/howto-vllm.md names them",
            ) from error
        return drawn(tokens, logprobs, choice["finish_reason"], with_logprobs=ask.with_logprobs)

    def score(self, ids: Sequence[int]) -> list[float]:
        body = {
            "model": self.model,
            "prompt": list(ids),
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": 0,
            **PLAIN,
        }
        found = self._call("POST", "/v1/completions", body)["choices"][0]["prompt_logprobs"]
        return [
            float(at[str(token)]["logprob"]) for token, at in zip(ids[1:], found[1:], strict=True)
        ]

    def load(self, weights: Weights) -> None:
        if weights.model is not None:
            folder = str(weights.model)
            body = {"method": "reload_weights", "kwargs": {"weights_path": folder}}
            self._call("POST", "/collective_rpc", body)
            # Also of requests that run: another process of the run may have begun already.
            reset = "/reset_prefix_cache?reset_running_requests=true"
            if not self._call("POST", reset).get("success", True):
                raise GrpokitError(
                    "the server did not forget what it had cached under the old weights",
                    place=self.url,
                    remedy="let nobody else use the server while weights are reloaded, and resume",
                )
        elif weights.adapter is not None:
            before = self.adapter
            name = f"grpokit-{self.token}-{weights.version}"  # no run before has left its like
            folder = str(weights.adapter)
            body = {"lora_name": name, "lora_path": folder}
            if before != name:
                self._call("POST", "/v1/load_lora_adapter", body)
            self.adapter = name
            if before is not None and before != name:
                self._forget(before)

    def _forget(self, name: str) -> None:
        with contextlib.suppress(GrpokitError):  # a server that was restarted knows nothing of it
            body = {"lora_name": name}
            self._call("POST", "/v1/unload_lora_adapter", body, seconds=GOODBYE)

    def sleep(self) -> None:
        if self.sleep_level and not self.asleep:
            self._call("POST", f"/sleep?level={self.sleep_level}")
            self.asleep = True

    def wake(self) -> None:
        if self.asleep:
            self._call("POST", "/wake_up")
            self.asleep = False

    def restart(self, should_stop: ShouldStop | None = None) -> None:
        """Whoever started the server starts it again; here it is waited for."""
        until = time.monotonic() + self.patience
        self.token = secrets.token_hex(4)  # one that was only out of reach still has the last name
        while True:
            try:
                self._greet()
            except EngineGone:
                if time.monotonic() > until:
                    raise
                pause(should_stop)
            else:
                return

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"engine": "vllm serve", "version": self.version}

    def close(self) -> None:
        """The server keeps running, without our adapter."""
        if self.adapter is not None:
            self._forget(self.adapter)
            self.adapter = None


def pause(should_stop: ShouldStop | None) -> None:
    """A second in which the run may say that it wants to stop."""
    for _ in range(10):
        if should_stop is not None:
            should_stop()
        time.sleep(0.1)
