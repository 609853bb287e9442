"""The backend ``openai``: a model behind an OpenAI-compatible endpoint answers questions of an evaluation.

A question goes out as its messages; the endpoint renders them. It must tell the tokens that it took: their
ids are not known, and zeros stand for them. An answer that cannot be had ends the evaluation, which goes on
from the answers that are there; it is never a wrong one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from grpokit.api import (
    Completion,
    ComponentError,
    Message,
    Preflight,
    PreflightError,
    Problem,
    Prompt,
    Recipe,
    Rollout,
    Sampling,
    ShouldStop,
    derive_seed,
)
from grpokit_rewards_model.client import Client, Reply, Tally
from grpokit_rewards_model.endpoint import EndpointConfig, key_of
from grpokit_rewards_model.errors import JudgeError

__all__ = ["Answers", "AnswersConfig", "preflight"]

SEEDS = 1 << 31
"""Endpoints take seeds below this."""
LOOK = 0.1
"""Seconds between looks for an interrupt."""
CANNOT = "a model behind an endpoint only answers; it cannot be trained"
INSTEAD = "train with the backend hf, and name the model `grpokit eval openai:MODEL`"


class AnswersConfig(EndpointConfig):
    """Settings of the backend `openai`."""

    request_timeout: float = Field(default=300.0, gt=0)
    """Seconds of one request."""
    omit: list[Literal["temperature", "top_p", "seed"]] = Field(default_factory=list)
    """What is not sent, for models that refuse it."""


def preflight(recipe: Recipe) -> Preflight:
    """What `grpokit doctor` says of it: no recipe can run here."""
    del recipe
    found = Problem(level="error", fact=CANNOT, remedy=INSTEAD, code="RM001", key="backend.use")
    return Preflight(problems=(found,))


class Answers:
    """Implements ``Model``, ``Spends`` and what opening and closing a backend needs."""

    def __init__(self, config: AnswersConfig) -> None:
        self.config = config
        self.usage: Counter[str] = Counter()
        self._model = ""
        self._client = Client(
            config.base_url,
            key_of(config.key_variable),
            retries=config.retries,
            request_timeout=config.request_timeout,
        )

    def open(self, recipe: Recipe, *, needs_reference: bool, needs_entropy: bool) -> None:
        raise PreflightError(CANNOT, place="backend.use", remedy=INSTEAD)

    def open_checkpoint(self, recipe: Recipe, folder: Path | None) -> None:
        if folder is not None:
            raise PreflightError(
                "an endpoint cannot be given weights", place=str(folder), remedy="name its model"
            )
        self._model = recipe.model.id

    def close(self) -> None:
        """Every call has closed its connections."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        raise PreflightError("only the endpoint knows how it renders a prompt", place="backend.use")

    @property
    def identity(self) -> Mapping[str, Any]:
        config = self.config
        sent = {"tokens_key": config.tokens_key, "extra": config.extra, "omit": sorted(config.omit)}
        return {
            "model": self._model,
            "backend": "openai",
            "endpoint": config.base_url,
            "request": sent,
        }

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Rollout:
        """A request an answer, several at the same time."""
        rows = [(prompt, sample) for prompt in prompts for sample in range(sampling.group)]
        replies = asyncio.run(self._ask_all(rows, sampling, should_stop))
        groups = [
            replies[first : first + sampling.group] for first in range(0, len(rows), sampling.group)
        ]
        return Rollout(
            prompts=tuple(prompts),
            prompt_ids=tuple((0,) * (group[0].tokens_in or 0) for group in groups),
            completions=tuple(tuple(map(_completion, group)) for group in groups),
            sampling=sampling,
        )

    async def _ask_all(
        self,
        rows: Sequence[tuple[Prompt, int]],
        sampling: Sampling,
        should_stop: ShouldStop | None,
    ) -> list[Reply]:
        """The first failure ends all others, and so does an interrupt."""
        free = asyncio.Semaphore(self.config.concurrency)
        tasks = [
            asyncio.create_task(self._ask(free, prompt, sample, sampling))
            for prompt, sample in rows
        ]
        try:
            waiting: set[asyncio.Task[Reply]] = set(tasks)
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=LOOK, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
                if should_stop:
                    should_stop()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [task.result() for task in tasks]

    async def _ask(
        self, free: asyncio.Semaphore, prompt: Prompt, sample: int, sampling: Sampling
    ) -> Reply:
        tally = Tally(name=f"{prompt.id}/{sample}")
        async with free:
            try:
                reply = await self._client.ask(self._body(prompt, sample, sampling), None, tally)
            except JudgeError as error:
                raise ComponentError(
                    f"row {prompt.index} has no answer: {error.fact}",
                    place=error.place,
                    remedy=error.remedy,
                ) from error
            finally:
                self.usage["requests"] += tally.requests
        if reply.tokens_in is None or reply.tokens_out is None:
            raise ComponentError(
                "the endpoint does not say how many tokens question and answer have",
                place=self._client.url,
                remedy="take one that sends `usage` with its answers",
            )
        self.usage["answers"] += 1
        self.usage["prompt_tokens"] += reply.tokens_in
        self.usage["completion_tokens"] += reply.tokens_out
        if reply.finish not in ("stop", "length"):
            self.usage[f"ended_by_{reply.finish}"] += 1
        return reply

    def _body(self, prompt: Prompt, sample: int, sampling: Sampling) -> dict[str, Any]:
        config = self.config
        drawn = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": derive_seed(sampling.seed, sampling.step, prompt.id, sample) % SEEDS,
        }
        return {
            **config.extra,
            "model": self._model,
            "messages": list(prompt.messages),
            config.tokens_key: sampling.max_tokens,
            **{key: value for key, value in drawn.items() if key not in config.omit},
        }


def _completion(reply: Reply) -> Completion:
    return Completion(
        token_ids=(0,) * (reply.tokens_out or 0),
        text=reply.text,
        finish="length" if reply.finish == "length" else "stop",
    )
