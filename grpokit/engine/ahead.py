"""The first round of the next step, drawn while this one trains (``rollout.staleness: 1``).

    t-1                 t                                  t+1
    ... update(t-1) | score(t), select(t) -> weights to the sampler | update(t)    | score(t+1) ...
                                             draw the first round of t+1 in a thread |

All that decides is settled in the run's own thread, before the update: the rows, how they are drawn,
the weights. The thread draws and does nothing else, so a run does not depend on which of the two is
faster. A drawing is kept until its step is done: a checkpoint before that holds it, and a step that
failed is taken again with it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from grpokit.engine.ranks import Ranks, completion_of
from grpokit.errors import CheckpointError, GrpokitError, PreflightError
from grpokit.spec.contracts import DrawsAhead, LoopBackend, ShouldStop, StepBackend, owns_loop
from grpokit.spec.flow import Prompt, Rollout, Sampling
from grpokit.spec.recipe import Recipe
from grpokit.spec.sampling import sampling_of

__all__ = ["Ahead", "Drawing", "Opening", "make_ahead"]

POLL = 0.02
"""Seconds between two looks at whether the run is to stop, while it waits for a drawing."""
FILE = "ahead.json"
"""Of a checkpoint: what was drawn for the step after it."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The first round of a step, settled and not drawn yet.

    Attributes:
        rows: positions of the prompts in the data set.
        position: where in the walk the next draw begins.
    """

    step: int
    rows: tuple[int, ...]
    prompts: tuple[Prompt, ...]
    position: int
    sampling: Sampling


class Cancelled(Exception):
    """Raised in the thread that draws what nobody wants any more."""


class Drawing:
    """An opening that a thread draws. ``seconds`` is how long that took."""

    def __init__(self, opening: Opening, draw: Callable[[ShouldStop], Rollout]) -> None:
        self.opening = opening
        self.seconds = 0.0
        self._rollout: Rollout | None = None
        self._error: BaseException | None = None
        self._stop, self._over = Event(), Event()
        self._thread = Thread(target=self._run, args=(draw,), name="grpokit-ahead", daemon=True)
        self._thread.start()

    def _run(self, draw: Callable[[ShouldStop], Rollout]) -> None:
        began = time.perf_counter()
        try:
            self._rollout = draw(self._poll)
        except BaseException as error:  # noqa: BLE001  raised in the step that needs the round
            self._error = error
        self.seconds = time.perf_counter() - began
        self._over.set()

    def _poll(self) -> None:
        if self._stop.is_set():
            raise Cancelled

    @property
    def over(self) -> bool:
        """Drawn, failed or cancelled."""
        return self._over.is_set()

    def wait(self, should_stop: ShouldStop | None = None) -> None:
        """Until it is over. What ``should_stop`` raises ends the waiting, not the drawing."""
        while not self._over.wait(POLL):
            if should_stop is not None:
                should_stop()
        self._thread.join()

    def rollout(self) -> Rollout:
        """What was drawn, or the error that kept it from being drawn. Only once it is over."""
        if self._error is not None:
            raise self._error
        assert self._rollout is not None
        return self._rollout

    def cancel(self) -> None:
        """Nothing is drawn any more afterwards."""
        self._stop.set()
        self.wait()


@dataclass
class Ahead:
    """What a run draws ahead.

    Attributes:
        last: the last step of the run, for which something is drawn ahead; 0 draws nothing ahead.
        asked: what the recipe says about rounds; a drawing that was made under other words is dropped.
        given: the drawing for the step that is taken now, or next.
        coming: the one for the step after that.
    """

    last: int = 0
    asked: Mapping[str, Any] = field(default_factory=dict)
    given: Drawing | None = None
    coming: Drawing | None = None

    @property
    def on(self) -> bool:
        return self.last > 0

    # ------------------------------------------------------------- the step that needs it

    def opening(self, step: int) -> Opening | None:
        """What was settled for this step; None if it draws its first round itself."""
        if self.given is None or self.given.opening.step != step:
            return None
        return self.given.opening

    def rollout(self, should_stop: ShouldStop) -> Rollout:
        """The round of this step, waited for.

        Raises:
            BaseException: what broke the drawing off. That is told once: the step that is taken again
                draws for itself.
        """
        assert self.given is not None
        self.given.wait(should_stop)
        try:
            rollout = self.given.rollout()
            _check_logprobs(rollout, self.given.opening.step)
        except BaseException:
            self.given = None
            raise
        return rollout

    def numbers(self, stale: int, kept: Sequence[int]) -> dict[str, float]:
        """The metric: mean age of the groups that go on, of which the first ``stale`` are one step old."""
        return {"staleness": sum(p < stale for p in kept) / len(kept)} if self.on else {}

    def seconds(self, step: int) -> dict[str, float]:
        """How long the drawing took, whoever waited for it."""
        if self.opening(step) is None or self.given is None:
            return {}
        return {"generate/ahead": self.given.seconds}

    # ------------------------------------------------------------- the step that trains meanwhile

    def begin(self, opening: Opening, backend: DrawsAhead, should_stop: ShouldStop) -> None:
        """Gives the sampler the present weights, then draws in a thread."""
        self.drop()
        draw = backend.ahead(opening.prompts, opening.sampling, should_stop)
        self.coming = Drawing(opening, draw)

    def drop(self) -> None:
        """The step did not train: it is taken again, and draws ahead again."""
        if self.coming is not None:
            self.coming.cancel()
            self.coming = None

    def advance(self) -> None:
        """The step is done."""
        self.given, self.coming = self.coming, None

    # ------------------------------------------------------------- between two steps

    @property
    def busy(self) -> bool:
        return self.given is not None and not self.given.over

    def settle(self, should_stop: ShouldStop | None = None) -> None:
        """Waits until the sampler is free. An error is kept for the step that needs the round."""
        if self.given is not None:
            self.given.wait(should_stop)

    def close(self) -> None:
        """No thread draws any more."""
        self.drop()
        if self.given is not None:
            self.given.cancel()
            self.given = None

    # ------------------------------------------------------------- checkpoints

    def write(self, folder: Path) -> None:
        """Into a checkpoint. Nothing of a round that could not be drawn: a resumed run draws it anew."""
        if self.given is None:
            return
        self.given.wait()
        opening = self.given.opening
        try:
            rollout = self.given.rollout()
        except Exception:  # noqa: BLE001  the step that needs the round raises it
            return
        data = {
            "step": opening.step,
            "asked": dict(self.asked),
            "rows": opening.rows,
            "ids": [prompt.id for prompt in opening.prompts],
            "position": opening.position,
            "sampling": asdict(opening.sampling),
            "prompt_ids": rollout.prompt_ids,
            "completions": [[asdict(one) for one in group] for group in rollout.completions],
        }
        (folder / FILE).write_text(json.dumps(data), encoding="utf-8")

    def read(self, folder: Path, prompts: Callable[[Sequence[int]], Sequence[Prompt]]) -> bool:
        """Out of a checkpoint; ``prompts`` makes them of rows. False if it does not fit the recipe."""
        file = folder / FILE
        if not file.is_file():
            return True
        if not self.on:
            return False
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            if data["asked"] != self.asked:
                return False
            made = _prompts(prompts, data["rows"], data["ids"])
            if made is None:
                return False
            opening, rollout = _of(data, made)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise CheckpointError(
                f"what was drawn ahead cannot be read: {error}",
                place=str(file),
                remedy="resume with the grpokit that wrote it",
            ) from error
        self.given = Drawing(opening, lambda _: rollout)
        return True


def make_ahead(recipe: Recipe, backend: StepBackend | LoopBackend, ranks: Ranks) -> Ahead:
    """Off, or on where that can be.

    Raises:
        PreflightError: the run cannot draw ahead.
    """
    if not recipe.rollout.staleness:
        return Ahead()
    fact = ""
    if owns_loop(backend) or not isinstance(backend, DrawsAhead):
        fact = f"the backend {recipe.backend.use} cannot draw while it trains"
    elif ranks.count > 1:
        fact = "several processes cannot draw ahead"
    if fact:
        raise PreflightError(fact, place="rollout.staleness", remedy="set it to 0")
    asked = {**asdict(sampling_of(recipe)), "prompts": recipe.rollout.prompts}
    return Ahead(last=recipe.train.steps, asked=asked)


def _check_logprobs(rollout: Rollout, step: int) -> None:
    """Without them nothing can say how far the weights have moved since."""
    if any(
        one.token_ids and one.logprobs is None for group in rollout.completions for one in group
    ):
        raise GrpokitError(
            "the sampler gives no log-probabilities for what it drew ahead",
            place=f"step {step}",
            remedy="set rollout.top_p: 1, top_k: 0 and min_p: 0 (also where the algorithm sets them), "
            "or rollout.staleness: 0",
        )


def _prompts(
    prompts: Callable[[Sequence[int]], Sequence[Prompt]], rows: Sequence[int], ids: Sequence[str]
) -> tuple[Prompt, ...] | None:
    """The prompts of the rows, if they are still those that were asked."""
    try:
        made = tuple(prompts(rows))
    except LookupError:
        return None  # the data set has fewer rows
    return made if [prompt.id for prompt in made] == ids else None


def _of(data: Mapping[str, Any], prompts: tuple[Prompt, ...]) -> tuple[Opening, Rollout]:
    sampling = Sampling(**data["sampling"])
    opening = Opening(
        step=data["step"],
        rows=tuple(data["rows"]),
        prompts=prompts,
        position=data["position"],
        sampling=sampling,
    )
    rollout = Rollout(
        prompts=prompts,
        prompt_ids=tuple(tuple(ids) for ids in data["prompt_ids"]),
        completions=tuple(
            tuple(completion_of(one) for one in group) for group in data["completions"]
        ),
        sampling=sampling,
    )
    return opening, rollout
