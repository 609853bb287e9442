"""One request to an OpenAI-compatible endpoint: deadline, retries, and what the server says about waiting.

httpx rather than the package ``openai``: it is one POST, and deadline, retries and the waiting that a
server asks for must be the reward's own, because all requests of a worker share them. The key is sent
to the recipe's address alone (redirects are not followed) and appears in no message.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from grpokit.api import derive_seed
from grpokit_rewards_model.errors import JudgeError, shown

__all__ = ["Client", "Reply", "Tally", "retry_after"]

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
FIRST_WAIT, LONGEST_WAIT = 0.25, 30.0
LARGEST = 4 << 20
"""Bytes of an answer."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the endpoint answered. Token counts are None where it says none."""

    text: str
    finish: str
    tokens_in: int | None
    tokens_out: int | None


@dataclass
class Tally:
    """What one completion has cost so far. ``name`` spreads its waits from those of others."""

    name: str
    requests: int = 0
    answers: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


class Client:
    """Requests to one endpoint. The session belongs to the event loop that asks first."""

    def __init__(self, base_url: str, key: str, *, retries: int, request_timeout: float) -> None:
        self.url = f"{base_url}/chat/completions"
        self._key = key
        self._retries = retries
        self._request_timeout = request_timeout
        self._session: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper: AsyncIterator[None] | None = None
        self._not_before = 0.0
        # Reading the certificates takes a while, and would be part of the first deadline.
        safe = base_url.startswith("https:")
        self._tls = httpx.create_ssl_context() if safe else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def ask(self, body: Mapping[str, Any], end: float | None, tally: Tally) -> Reply:
        """Sends ``body`` until there is an answer; ``end`` is on ``time.monotonic()``.

        Raises:
            JudgeError: no answer in time, or one that a further request would not change.
        """
        trouble = ""
        for attempt in range(self._retries + 1):
            await self._wait(self._not_before - time.monotonic(), end, trouble, attempt)
            tally.requests += 1
            try:
                status, headers, data = await self._post(body, end)
            except (httpx.TransportError, TimeoutError) as error:
                trouble, wait = self._broken(error), None
            else:
                if status == httpx.codes.OK:
                    return self._read(data)
                trouble = self._refused(status, data)
                if status not in AGAIN:
                    raise self._error(trouble, "")
                wait = retry_after(headers.get("retry-after", ""))
                if wait is not None:  # it holds for every request of this process
                    self._not_before = max(self._not_before, time.monotonic() + wait)
            if attempt < self._retries:
                pause = _backoff(attempt, tally.name) if wait is None else wait
                await self._wait(pause, end, trouble, attempt + 1)
        raise self._error(f"{trouble} ({self._retries + 1} requests)", "")

    async def _post(
        self, body: Mapping[str, Any], end: float | None
    ) -> tuple[int, httpx.Headers, bytes]:
        limit = self._request_timeout
        if end is not None:
            limit = max(0.0, min(limit, end - time.monotonic()))
        session = await self._open()
        data = bytearray()
        async with asyncio.timeout(limit), session.stream("POST", self.url, json=body) as response:
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > LARGEST:
                    raise self._error(f"the answer is longer than {LARGEST >> 20} MiB", "")
        return response.status_code, response.headers, bytes(data)

    async def _open(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop = loop
            self._session = httpx.AsyncClient(
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                timeout=None,  # noqa: S113  # asyncio.timeout ends the whole request, not only a pause
                limits=httpx.Limits(max_connections=None),
                follow_redirects=False,
                trust_env=not _is_here(self.url),  # a proxy cannot reach this machine
                verify=self._tls,
            )
            self._keeper = _closed_with_the_loop(self._session)
            await anext(self._keeper)
        return self._session

    async def _wait(self, seconds: float, end: float | None, trouble: str, attempt: int) -> None:
        if seconds <= 0:
            return
        if end is None:
            end = time.monotonic() + max(LONGEST_WAIT, self._request_timeout)
        if time.monotonic() + seconds >= end:
            told = trouble or "the server asks for patience"
            left = max(0.0, end - time.monotonic())
            raise self._error(
                f"{told} (request {attempt}); the next one is {seconds:.1f} s away, and "
                f"{left:.1f} s are left",
                "raise scoring.timeout, or lower `concurrency`",
            )
        await asyncio.sleep(seconds)

    def _read(self, data: bytes) -> Reply:
        try:
            answer = json.loads(data)
            choice = answer["choices"][0]
            text = choice["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self._error(
                f"the endpoint answered no chat completion: {self._quoted(data)}", ""
            ) from None
        usage = answer.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        return Reply(
            text=text if isinstance(text, str) else "",
            finish=str(choice.get("finish_reason")),
            tokens_in=_count(usage.get("prompt_tokens")),
            tokens_out=_count(usage.get("completion_tokens")),
        )

    def _refused(self, status: int, data: bytes) -> str:
        reason = httpx.codes.get_reason_phrase(status)
        return f"the endpoint answered {status} {reason}".rstrip() + f": {self._quoted(data)}"

    def _broken(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return "the endpoint gave no answer in time"
        said = shown(str(error), self._key)
        return f"the connection failed: {type(error).__name__}" + (f" ({said})" if said else "")

    def _quoted(self, data: bytes) -> str:
        return shown(data.decode("utf-8", "replace"), self._key) or "nothing"

    def _error(self, fact: str, remedy: str) -> JudgeError:
        usual = "see whether base_url, model and key are right and the endpoint is up"
        return JudgeError(fact, place=self.url, remedy=remedy or usual)


async def _closed_with_the_loop(session: httpx.AsyncClient) -> AsyncIterator[None]:
    """A loop that ends closes the generators that are open in it, and this one its session."""
    try:
        yield
    finally:
        await session.aclose()


def retry_after(value: str) -> float | None:
    """Seconds that a ``Retry-After`` header asks for: a number or a date; None if it is neither."""
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) <= 9:
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _backoff(attempt: int, name: str) -> float:
    # Spread, so that requests that failed together do not come together again.
    share = derive_seed("backoff", name, attempt) / 2**63
    return float(min(LONGEST_WAIT, FIRST_WAIT * 2.0**attempt) * (0.5 + share))


def _count(value: object) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40
    return value if good and isinstance(value, int) else None


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
