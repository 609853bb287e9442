"""The reward ``judge``: a language model grades one completion by a rubric.

The grade is scaled to 0..1. Whatever prevents a verdict is a failure of that completion, never a 0:
an endpoint that is down, a deadline, an answer that cannot be read. A row in which a column is empty
that the template shows is not graded (None). A budget that is spent ends the run.
"""

from __future__ import annotations

import asyncio
import inspect
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from grpokit.api import Score, reward, seconds_left
from grpokit_rewards_model.client import Client, Reply, Tally
from grpokit_rewards_model.config import JudgeConfig
from grpokit_rewards_model.endpoint import key_of
from grpokit_rewards_model.errors import JudgeError, shown
from grpokit_rewards_model.purse import Purse
from grpokit_rewards_model.question import (
    Question,
    check_template,
    columns,
    digest,
    fresh_nonce,
    text_of,
)
from grpokit_rewards_model.store import Key, Known, Store, default_file
from grpokit_rewards_model.verdict import UnreadableError, read_verdict

__all__ = ["judge"]


def judge(config: JudgeConfig) -> Callable[..., Awaitable[Score | None]]:
    """Builds the reward. It asks for the completion and for what its template shows.

    Raises:
        ComponentError: the key's variable is not set, or the file of verdicts cannot be used.
    """
    bench = Bench(config)
    names, shown = check_template(config.template), columns(config.template)

    @reward(at_once=config.concurrency)
    async def score(**facts: Any) -> Score | None:
        texts = {name: text_of(facts[name]) for name in names if facts[name] is not None}
        if any(not texts.get(name, "").strip() for name in shown):
            return None
        return await bench.grade(texts)

    asked = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    score.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
    score.__name__ = score.__qualname__ = "judge"
    return score


class Bench:
    """One judge: its endpoint, its file of verdicts, its purse."""

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self._key = key_of(config.key_variable)
        self.store = Store(Path(config.cache).expanduser() if config.cache else default_file())
        self.client = Client(
            config.base_url,
            self._key,
            retries=config.retries,
            request_timeout=config.request_timeout,
        )
        self.purse = Purse(config, self.store)
        self._busy: weakref.WeakValueDictionary[Key, asyncio.Lock] = weakref.WeakValueDictionary()

    async def grade(self, texts: Mapping[str, str]) -> Score:
        """The score of one completion, from the file or from the endpoint."""
        config = self.config
        end = _end(seconds_left())
        question = Question(
            rubric=config.rubric,
            template=config.template,
            lowest=config.lowest,
            highest=config.highest,
            output=config.output,
            max_characters=config.max_characters,
            texts=texts,
        )
        key = self._key_of(question)
        tally = Tally(name=key.question + key.completion)
        # Equal completions of a group wait for the first one's verdict instead of buying their own.
        async with self._busy.setdefault(key, asyncio.Lock()):
            known = self.store.find(key) if config.reuse else None
            if known is None:
                known = await self._buy(question, key, end, tally)
            else:
                self.purse.reused()
        return self._score(question, known, tally)

    async def _buy(self, question: Question, key: Key, end: float | None, tally: Tally) -> Known:
        config = self.config
        problem = ""
        for _ in range(config.reask + 1):
            nonce = fresh_nonce()
            reply = await self._reply(self._body(question, nonce), end, tally)
            try:
                found = read_verdict(
                    reply.text, nonce, config.output, config.lowest, config.highest
                )
            except UnreadableError as error:
                cut = "; max_tokens cut it off" if reply.finish == "length" else ""
                problem = f"{error}{cut}: {shown(reply.text, self._key, end=True) or 'it is empty'}"
                continue
            known = Known(found.grade, shown(found.reason, self._key, end=True))
            self.store.keep(key, known)
            return known
        raise JudgeError(
            f"the judge's answer cannot be read ({config.reask + 1} requests): {problem}",
            place=self.client.url,
            remedy="try `output: json`, a larger max_tokens, or a judge that does as it is told",
        )

    async def _reply(self, body: Mapping[str, Any], end: float | None, tally: Tally) -> Reply:
        requests = tally.requests
        async with self.purse.reserve(body) as most:
            try:
                reply = await self.client.ask(body, end, tally)
            except BaseException:  # cancelled by the deadline, too
                self.purse.broken(tally.requests - requests)
                raise
            self.purse.pay(reply, most, tally, tally.requests - requests)
        return reply

    def _body(self, question: Question, nonce: str) -> dict[str, Any]:
        config = self.config
        body: dict[str, Any] = {
            **config.extra,
            "model": config.model,
            "messages": question.messages(nonce),
            config.tokens_key: config.max_tokens,
        }
        if config.temperature is not None:
            body["temperature"] = config.temperature
        if config.seed is not None:
            body["seed"] = config.seed
        if config.output == "json":
            body["response_format"] = {"type": "json_object"}
        return body

    def _key_of(self, question: Question) -> Key:
        config = self.config
        asked, completion = question.hashes()
        sampling = [config.temperature, config.seed, config.max_tokens, config.tokens_key]
        return Key(
            question=asked,
            completion=completion,
            endpoint=config.base_url,
            model=config.model,
            settings=digest([sampling, config.extra]),
        )

    def _score(self, question: Question, known: Known, tally: Tally) -> Score:
        config = self.config
        return Score(
            value=(known.grade - config.lowest) / (config.highest - config.lowest),
            components={
                "reused": float(not tally.requests),
                "requests": float(tally.requests),
                "tokens_in": float(tally.tokens_in),
                "tokens_out": float(tally.tokens_out),
                "cost": tally.cost,
                "cut": float(question.cut),
            },
            note=known.reason,
        )


def _end(left: float | None) -> float | None:
    """When to give up, on ``time.monotonic()``: a little before the deadline, to tell the reason."""
    if left is None:
        return None
    return time.monotonic() + left - min(2.0, max(0.25, left / 10))
