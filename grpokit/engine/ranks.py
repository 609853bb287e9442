"""The processes (ranks) of a run. One alone is the usual case: then nothing here does anything.

Each rank draws and scores whole groups of its own; what came of them goes to all ranks, so that
everything after that (advantages, selection, records, the next draw) is the same on each of them.
Only rank 0 writes. An error on one rank is an error on all of them, with its message: ranks tell
each other how their work ended before anyone goes on.

What travels is JSON in tensors, through torch.distributed (gloo); nothing is pickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import reduce
from typing import Any, cast

from grpokit import errors
from grpokit.engine.merge import merge_scores, pick_rollout
from grpokit.errors import GrpokitError, Interrupted
from grpokit.spec.contracts import Model, ShouldStop
from grpokit.spec.flow import Completion, Message, Prompt, Rollout, Sampling, ScoreFailure, Scores

__all__ = ["Ranks", "Spread"]

PATIENCE = timedelta(hours=2)
"""How long ranks wait for the slowest one; a rank that died is noticed at once."""


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is."""

    index: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Ranks:
        """Meets the other processes that the environment names (RANK, WORLD_SIZE, MASTER_ADDR)."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        import torch
        from torch import distributed

        if not distributed.is_initialized():
            local = int(os.environ.get("LOCAL_RANK", "0"))
            if torch.cuda.is_available():
                torch.cuda.set_device(local % torch.cuda.device_count())
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE
            )
        return cls(int(os.environ["RANK"]), count)

    @property
    def first(self) -> bool:
        """The one rank that writes and shows."""
        return self.index == 0

    def leave(self) -> None:
        """Ends the meeting; whatever state the others are in."""
        if self.count == 1:
            return
        from torch import distributed

        if distributed.is_initialized():
            with suppress(RuntimeError):  # the others may be gone already
                distributed.destroy_process_group()

    def every(self, work: Callable[[], Any]) -> list[Any]:
        """What ``work`` gave on each rank, as JSON takes it; in order of the ranks.

        Raises:
            GrpokitError: what it raised on the first rank that it failed on; on all of them. An error
                that is marked ``alone`` is raised at once: nobody could hear of it.
        """
        if self.count == 1:
            return [work()]
        own: BaseException | None = None
        try:
            message: dict[str, Any] = {"value": work()}
        except Exception as error:  # the others must hear of it before it goes on
            if getattr(error, "alone", False):
                raise
            own, message = error, {"error": _told(error)}
        answers = self.exchange(message)
        failed = [rank for rank, answer in enumerate(answers) if "error" in answer]
        if own is not None:
            raise own
        if failed:
            raise _raised(answers[failed[0]]["error"], failed[0])
        return [answer["value"] for answer in answers]

    def only_first(self, work: Callable[[], object]) -> None:
        """Does ``work`` on rank 0 while the others wait; an error there is one on all."""
        self.every(lambda: work() and None if self.first else None)

    def exchange(self, message: Any) -> list[Any]:
        """Everybody's message, on every rank."""
        import torch
        from torch import distributed

        data = json.dumps(message).encode()
        try:
            sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
            distributed.all_gather(sizes, torch.tensor([len(data)]))
            longest = max(int(size) for size in sizes)
            mine = torch.zeros(longest, dtype=torch.uint8)
            mine[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            boxes = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.count)]
            distributed.all_gather(boxes, mine)
        except RuntimeError as error:
            raise GrpokitError(
                "another process of the run has ended",
                place=f"process {self.index} of {self.count}",
                remedy="its own message says why; see the logs of the run",
            ) from error
        return [
            json.loads(box[: int(size)].numpy().tobytes())
            for box, size in zip(boxes, sizes, strict=True)
        ]

    def poll(self, poll: ShouldStop) -> ShouldStop:
        """For work that ranks do in step: an interrupt of one of them must not part them."""
        return poll if self.count == 1 else _never

    # ------------------------------------------------------------- a round of a step

    def generate(
        self, model: Model, prompts: Sequence[Prompt], sampling: Sampling, poll: ShouldStop
    ) -> Rollout:
        """Completions for all prompts; each rank draws those of its own share.

        Every rank gets as many prompts, as runtimes need that; what is drawn for filling up is
        drawn twice and left out.
        """
        if self.count == 1:
            return model.generate(prompts, sampling, poll)
        share = self.share(len(prompts))
        mine = [*prompts[share]]
        mine += [prompts[-1]] * (self.width(len(prompts)) - len(mine))

        def draw() -> list[Any]:
            drawn = model.generate(mine, sampling, poll)
            return [drawn.prompt_ids, [[asdict(one) for one in row] for row in drawn.completions]]

        parts = self.every(draw)
        whole = Rollout(
            prompts=tuple(prompts),
            prompt_ids=tuple(tuple(ids) for part in parts for ids in part[0]),
            completions=tuple(
                tuple(_completion(one) for one in row) for part in parts for row in part[1]
            ),
            sampling=sampling,
        )
        return pick_rollout_of(whole, len(prompts))

    def score(self, score: Callable[[Rollout], Scores], rollout: Rollout) -> Scores:
        """Scores of all groups; each rank scores its own share."""
        if self.count == 1:
            return score(rollout)
        share = self.share(len(rollout.prompts))
        mine = pick_rollout(rollout, range(share.start, share.stop))
        parts = self.every(lambda: asdict(score(mine)) if mine.prompts else None)
        found = [_scores(part) for part in parts if part is not None]
        seconds = {name: max(part.seconds[name] for part in found) for name in found[0].seconds}
        return replace(reduce(merge_scores, found), seconds=seconds)

    def width(self, count: int) -> int:
        """Prompts a rank, the last ones filled up."""
        return -(-count // self.count)

    def share(self, count: int) -> slice:
        """This rank's part of ``count`` groups; the last ranks may have fewer, or none."""
        width = self.width(count)
        return slice(min(count, self.index * width), min(count, (self.index + 1) * width))


@dataclass(frozen=True)
class Spread:
    """A model whose prompts are shared among the ranks."""

    model: Model
    ranks: Ranks

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.model.identity

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return self.model.encode(messages)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Rollout:
        return self.ranks.generate(self.model, prompts, sampling, should_stop or _never)


def _never() -> None:
    """Nobody asks to stop."""


def pick_rollout_of(whole: Rollout, count: int) -> Rollout:
    """The first ``count`` groups: what stands behind them was only drawn to fill up."""
    return replace(
        whole, prompt_ids=whole.prompt_ids[:count], completions=whole.completions[:count]
    )


def _completion(data: dict[str, Any]) -> Completion:
    logprobs = data["logprobs"]
    return Completion(
        token_ids=tuple(data["token_ids"]),
        text=data["text"],
        finish=data["finish"],
        logprobs=None if logprobs is None else tuple(logprobs),
    )


def _scores(data: dict[str, Any]) -> Scores:
    def table(rows: list[list[float | None]]) -> tuple[tuple[float | None, ...], ...]:
        return tuple(tuple(row) for row in rows)

    return Scores(
        rewards={name: table(rows) for name, rows in data["rewards"].items()},
        components={name: table(rows) for name, rows in data["components"].items()},
        total=table(data["total"]),
        failures=tuple(ScoreFailure(**failure) for failure in data["failures"]),
        seconds=data["seconds"],
        weights=data["weights"],
    )


def _told(error: Exception) -> dict[str, Any]:
    if isinstance(error, GrpokitError):
        told = {"fact": error.fact, "place": error.place, "remedy": error.remedy}
        signal = getattr(error, "signal_number", None)
        problems = list(getattr(error, "problems", ()))
        return {"kind": type(error).__name__, "signal": signal, "problems": problems, **told}
    fact = f"{type(error).__name__}: {error}"
    return {
        "kind": "",
        "fact": fact,
        "place": "",
        "remedy": "this is a fault of grpokit or a plugin",
    }


def _raised(told: dict[str, Any], rank: int) -> GrpokitError:
    if told.get("signal"):
        return Interrupted(told["signal"], remedy=told["remedy"])
    place = f"process {rank}: {told['place']}" if told["place"] else f"process {rank}"
    kind = cast("type[GrpokitError]", getattr(errors, told["kind"], GrpokitError))
    error = kind(told["fact"], place=place, remedy=told["remedy"])
    if told.get("problems"):
        error.problems = tuple(told["problems"])  # type: ignore[attr-defined]
    return error
