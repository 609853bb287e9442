"""What a judge has cost, and how much more it may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from grpokit.api import RewardError
from grpokit_rewards_model.client import Reply, Tally
from grpokit_rewards_model.config import JudgeConfig
from grpokit_rewards_model.store import Line, Store

__all__ = ["Most", "Purse"]

MILLION = 1_000_000
TEMPLATE_TOKENS = 64
"""Tokens that a chat template may put around a message."""
PAUSE = 0.05


@dataclass(frozen=True)
class Most:
    """The most that one request can take: a token is at least one byte."""

    tokens_in: int
    tokens_out: int
    cost: float


class Purse:
    """Books spending on an account of the file, and stops before the account's limit.

    Before each request the most that it can cost is set aside. If that is more than what is left, it
    waits for the requests under way, which cost less than what was set aside for them; if none is, the
    run ends. Requests of *other* processes under way are not seen: each can go over the limit by those.
    """

    def __init__(self, config: JudgeConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._aside = 0.0

    @asynccontextmanager
    async def reserve(self, body: Mapping[str, Any]) -> AsyncIterator[Most]:
        """Sets money aside for one request.

        Raises:
            RewardError: the account cannot pay for it.
        """
        most = self._most(body)
        limit = self._config.max_cost
        while limit is not None:
            spent = self._store.spent(self._config.account)
            if spent + self._aside + most.cost <= limit:
                break
            if not self._aside:
                raise self._empty(spent, limit, most.cost)
            await asyncio.sleep(PAUSE)
        self._aside += most.cost
        try:
            yield most
        finally:
            self._aside -= most.cost
            if self._aside < most.cost * 1e-9:  # what rounding leaves
                self._aside = 0.0

    def pay(self, reply: Reply, most: Most, tally: Tally, requests: int) -> None:
        """Books an answer. Where the endpoint does not say what it took, it took the most."""
        counts = (reply.tokens_in, reply.tokens_out)
        taken_in = most.tokens_in if counts[0] is None else counts[0]
        taken_out = most.tokens_out if counts[1] is None else counts[1]
        cost = self._cost(taken_in, taken_out)
        tally.answers += 1
        tally.tokens_in += taken_in
        tally.tokens_out += taken_out
        tally.cost += cost
        self._book(
            requests=requests, answers=1, tokens_in=taken_in, tokens_out=taken_out, cost=cost
        )

    def broken(self, requests: int) -> None:
        """Books requests that brought no answer: what they cost is not known."""
        if requests:
            self._book(requests=requests)

    def reused(self) -> None:
        """Books a verdict from the file."""
        self._book(reused=1)

    def _book(self, **numbers: Any) -> None:
        config = self._config
        line = Line(account=config.account, endpoint=config.base_url, model=config.model, **numbers)
        self._store.book(line)

    def _most(self, body: Mapping[str, Any]) -> Most:
        texts = json.dumps(body["messages"], ensure_ascii=False).encode("utf-8", "replace")
        tokens_in = len(texts) + TEMPLATE_TOKENS * len(body["messages"])
        tokens_out = self._config.max_tokens
        return Most(tokens_in, tokens_out, self._cost(tokens_in, tokens_out))

    def _cost(self, tokens_in: int, tokens_out: int) -> float:
        config = self._config
        return (tokens_in * config.price_in + tokens_out * config.price_out) / MILLION

    def _empty(self, spent: float, limit: float, cost: float) -> RewardError:
        account = self._config.account
        return RewardError(
            f"the account {account!r} has spent {spent:.6g} of the judge's max_cost {limit:.6g}, "
            f"and the next request can cost {cost:.6g}",
            remedy=(
                "raise max_cost or name another account, then resume the run: verdicts that are "
                "paid for come from the file"
            ),
        )
