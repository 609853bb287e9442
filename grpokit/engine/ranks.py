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
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import reduce
from typing import Any

from grpokit.engine.merge import merge_scores, pick_rollout
from grpokit.errors import GrpokitError, PreflightError, error_as_data, error_from_data
from grpokit.scoring.facts import Asker, Facts, Inquiry, facts_of, measuring
from grpokit.spec.contracts import Model, ShouldStop
from grpokit.spec.flow import (
    Completion,
    Measurement,
    Message,
    Prompt,
    Rollout,
    Sampling,
    ScoreFailure,
    Scores,
    Update,
)

__all__ = ["Ranks", "Spread", "completion_of"]

PATIENCE = timedelta(hours=2)
"""How long ranks wait for the slowest one; a rank that died is noticed at once."""
MEETING = timedelta(seconds=15)
"""How long a rank that fails waits for the others to fail as well."""


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is."""

    index: int = 0
    count: int = 1
    meeting: Any = field(default=None, compare=False)
    """Where ranks that fail look for one another: a group apart, so that nothing else is there."""

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
            kind = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            try:
                distributed.init_process_group(kind, timeout=PATIENCE)
            except RuntimeError as error:
                raise _no_meeting(error, count) from error
        meeting = distributed.new_group(backend="gloo", timeout=PATIENCE)
        return cls(int(os.environ["RANK"]), count, meeting)

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
            message = json.dumps({"value": work()})
        except Exception as error:  # the others must hear of it before it goes on
            if getattr(error, "alone", False):
                raise
            own, message = error, json.dumps({"error": error_as_data(error)})
        answers = self.exchange(message)
        failed = [rank for rank, answer in enumerate(answers) if "error" in answer]
        if own is not None:
            raise own
        if failed:
            raise error_from_data(answers[failed[0]]["error"], failed[0])
        return [answer["value"] for answer in answers]

    def only_first(self, work: Callable[[], object]) -> None:
        """Does ``work`` on rank 0 while the others wait; an error there is one on all."""
        self.every(lambda: work() and None if self.first else None)

    def fail_together(self) -> bool:
        """Whether all ranks have come here, each with an error.

        A rank that fails by itself must not begin what all do together, such as saving: the others
        wait for it elsewhere. It ends, and they notice.
        """
        if self.count == 1:
            return True
        from torch import distributed

        try:
            distributed.monitored_barrier(self.meeting, timeout=MEETING)
        except RuntimeError:
            return False
        return True

    def exchange(self, message: str) -> list[Any]:
        """Everybody's message, which is JSON, on every rank."""
        import torch
        from torch import distributed

        data = message.encode()
        try:
            sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
            distributed.all_gather(sizes, torch.tensor([len(data)]))
            longest = max(int(size) for size in sizes)
            mine = torch.zeros(longest, dtype=torch.uint8)
            mine[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            boxes = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.count)]
            distributed.all_gather(boxes, mine)
        except RuntimeError as error:
            gone = GrpokitError(
                "another process of the run has ended",
                place=f"process {self.index} of {self.count}",
                remedy="its own message says why; see the logs of the run",
            )
            gone.alone = True
            raise gone from error
        return [
            json.loads(box[: int(size)].numpy().tobytes())
            for box, size in zip(boxes, sizes, strict=True)
        ]

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
                tuple(completion_of(one) for one in row) for part in parts for row in part[1]
            ),
            sampling=sampling,
        )
        return pick_rollout_of(whole, len(prompts))

    def facts(
        self, scorer: Asker, model: Model, rollout: Rollout, poll: ShouldStop | None = None
    ) -> Facts | None:
        """What rewards want to know about this rank's share; None where they want nothing.

        All ranks ask the model together, those without a group too: they may share its weights.
        """
        if self.count == 1 or not scorer.measures:
            return facts_of(scorer, model, rollout, poll)
        mine = self.mine(rollout)
        asked: list[Inquiry] = []
        told: list[Measurement] = []
        self.every(lambda: asked.append(scorer.inquire(mine, poll)))
        wanted = asked[0].wanted
        self.every(lambda: told.append(measuring(model).measure(mine, wanted, poll)))
        return Facts(inquiry=asked[0], measured=told[0])

    def mine(self, rollout: Rollout) -> Rollout:
        """The groups that this rank scores."""
        share = self.share(len(rollout.prompts))
        return pick_rollout(rollout, range(share.start, share.stop))

    def score(self, score: Callable[[Rollout], Scores], rollout: Rollout) -> Scores:
        """Scores of all groups; each rank scores its own share."""
        if self.count == 1:
            return score(rollout)
        mine = self.mine(rollout)
        parts = self.every(lambda: asdict(score(mine)) if mine.prompts else None)
        found = [_scores(part) for part in parts if part is not None]
        seconds = {name: max(part.seconds[name] for part in found) for name in found[0].seconds}
        return replace(reduce(merge_scores, found), seconds=seconds)

    def measured(self, update: Update) -> Update:
        """The first rank's: what an algorithm remembers and decides by must be the same on all."""
        if self.count == 1:
            return update
        return Update(**self.every(lambda: asdict(update))[0])

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

    def facts(
        self, scorer: Asker, rollout: Rollout, should_stop: ShouldStop | None = None
    ) -> Facts | None:
        return self.ranks.facts(scorer, self.model, rollout, should_stop)


def _never() -> None:
    """Nobody asks to stop."""


def pick_rollout_of(whole: Rollout, count: int) -> Rollout:
    """The first ``count`` groups: what stands behind them was only drawn to fill up."""
    return replace(
        whole, prompt_ids=whole.prompt_ids[:count], completions=whole.completions[:count]
    )


def completion_of(data: dict[str, Any]) -> Completion:
    """A completion as JSON has it."""
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


def _no_meeting(error: RuntimeError, count: int) -> PreflightError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return PreflightError(
        f"the {count} processes of the run could not meet: {first}",
        place=f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}",
        remedy="start again; nothing was trained",
    )
