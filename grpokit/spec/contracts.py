"""The protocols that components implement. Torch appears in annotations only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from grpokit.spec.memory import MemoryFacts

if TYPE_CHECKING:
    from grpokit.spec.flow import (
        Advantages,
        Allocation,
        Completion,
        Draw,
        Gathered,
        LossInputs,
        LossOutputs,
        Measurement,
        Message,
        Outcome,
        Prompt,
        Resets,
        Rollout,
        Sampling,
        Scores,
        Selection,
        StepRecord,
        Update,
        Wanted,
    )
    from grpokit.spec.recipe import Recipe

__all__ = [
    "Algorithm",
    "Announces",
    "Callback",
    "Dataset",
    "DrawsAhead",
    "Feed",
    "LoopBackend",
    "LossFunction",
    "Measures",
    "Model",
    "Preflight",
    "Problem",
    "Row",
    "Score",
    "ShouldStop",
    "Spends",
    "StepBackend",
    "Task",
    "Walk",
    "owns_loop",
]

Row = Mapping[str, Any]
LossFunction = Callable[["LossInputs"], "LossOutputs"]
ShouldStop = Callable[[], None]
"""Called between tokens and micro-batches; raises :class:`grpokit.errors.Interrupted`."""


@runtime_checkable
class Dataset(Protocol):
    """Rows by position. An endless data set has ``size`` None and answers every index >= 0."""

    @property
    def size(self) -> int | None: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str:
        """Hash of content (or of the generating parameters); a resume compares it."""

    def __getitem__(self, index: int) -> Row: ...


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score with named parts, for rewards that want to explain themselves.

    ``value`` is what trains; ``components`` are numbers for metrics; ``note`` is text for people.
    """

    value: float | None
    components: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@runtime_checkable
class Walk(Protocol):
    """The endless sequence of data set rows that a run goes through, and the rows themselves.

    A pure function of seed and position: epochs after one another, each in a new order.
    """

    @property
    def size(self) -> int | None:
        """Rows of an epoch; None for a data set without end."""

    def at(self, position: int) -> int:
        """The data set row at ``position`` (from 0) of the walk."""

    def row(self, index: int) -> Row:
        """The columns of data set row ``index``."""


@runtime_checkable
class Algorithm(Protocol):
    """What differs between GRPO and its relatives. The loop never asks which one it runs.

    A step goes through the methods in this order. Only ``observe`` may change the algorithm, and
    only once the step is done: a step that is interrupted and taken again finds it as it was.
    """

    @property
    def needs_reference(self) -> bool: ...

    @property
    def needs_entropy(self) -> bool: ...

    @property
    def skips_zero_advantage(self) -> bool:
        """A row with advantage 0 adds exactly 0 to loss and gradient: it needs no forward.

        ``select`` then gives such rows weight 0, which is all that a backend has to look at.
        """

    def sampling(self, sampling: Sampling) -> Sampling:
        """How this step (``sampling.step``) draws; the recipe's way is given."""

    def first(self, prompts: int) -> int:
        """Prompts of the step's first round, where the recipe asks for ``prompts``."""

    def draw(self, walk: Walk, position: int, count: int, step: int) -> Draw:
        """The next ``count`` rows from ``position`` of the walk on."""

    def advantages(self, rollout: Rollout, scores: Scores) -> Advantages: ...

    def allocate(self, gathered: Gathered) -> Allocation:
        """The groups that go on, or another round."""

    def select(self, rollout: Rollout, scores: Scores, advantages: Advantages) -> Selection: ...

    def resets(self, step: int) -> Resets:
        """What begins anew before the update of ``step``."""

    def loss(self, inputs: LossInputs) -> LossOutputs: ...

    def observe(self, outcome: Outcome) -> None:
        """Takes note of a finished step."""

    def state(self) -> Mapping[str, Any]:
        """What was noted, as JSON; a checkpoint keeps it."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what ``state`` gave."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that keeps a recipe from running here, or that its author should know."""

    level: str
    """``error`` (cannot run), ``warning`` or ``info``."""
    fact: str
    remedy: str = ""
    code: str = ""
    key: str = ""
    """The recipe key it concerns, dotted."""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What a backend knows about a recipe without importing torch.

    Attributes:
        problems: why it cannot run here, and what would make it run.
        dimensions: of the model, for the memory estimate (names of its ``config.json``), or empty.
        versions: package -> version of the runtime.
        device: the device that would be used, in words.
        render: messages -> prompt text through the model's chat template; None without the model.
        count: text -> number of tokens; None without the model.
        notes: facts about the tokenizer that were repaired ("eos was <|im_start|>, ...").
        tokens: what the tokenizer says, in words, for ``grpokit doctor``: label -> value, such as
            ``end of turn`` -> ``<|im_end|> (id 2)``; empty without the model.
        shared_prefix: training computes a prompt once for all completions of its group.
        memory: how the model is held and who samples, for the memory estimate.
    """

    problems: tuple[Problem, ...] = ()
    dimensions: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    render: Callable[[Sequence[Message]], str] | None = None
    count: Callable[[str], int] | None = None
    notes: tuple[str, ...] = ()
    tokens: Mapping[str, str] = field(default_factory=dict)
    shared_prefix: bool = False
    memory: MemoryFacts = field(default_factory=MemoryFacts)


@runtime_checkable
class Model(Protocol):
    """A model that can be sampled: all that evaluation needs."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of the rendered prompt, generation prompt included."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Rollout:
        """``sampling.group`` completions a prompt; seeds derive from (seed, step, prompt, sample)."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Model id, weights hash, template hash, dtype, versions: the evaluation's fingerprint."""


@runtime_checkable
class Spends(Protocol):
    """A model whose answers are paid for: it counts what they took, since it was opened."""

    @property
    def usage(self) -> Mapping[str, int]: ...


@runtime_checkable
class Announces(Protocol):
    """A model that says which groups are complete while it is still drawing others.

    Rewards can then be asked early. It is not needed: without it they are asked in the end.
    """

    def announcing(
        self, finished: Callable[[int, tuple[Completion, ...]], None]
    ) -> AbstractContextManager[None]:
        """While it lasts, ``generate`` calls ``finished`` with a prompt's position and its completions.

        From the thread that called ``generate``, at most once a prompt, in any order; prompts may be
        left out.
        """


@runtime_checkable
class DrawsAhead(Protocol):
    """A model whose sampler has weights of its own, so that it can draw while the model trains."""

    def ahead(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Callable[[ShouldStop | None], Rollout]:
        """Gives the sampler the weights of this moment; what is returned draws with them, when called.

        It is called once at most, in any thread, and meanwhile ``update``, ``reset`` and ``save_*`` may
        be: the weights of the sampler stay. Nothing else is asked of the model until it has returned.
        What its own ``should_stop`` raises ends it soon, and leaves the sampler usable. The completions
        are those that ``generate`` would have drawn in its place, with the sampler's log-probs.
        """


@runtime_checkable
class Measures(Protocol):
    """A model that says how probable texts are: capabilities `token-statistics`, `continuations`.

    Rewards cannot call a model: they run elsewhere. What they need is measured between drawing and
    scoring, with the weights that drew (of a round that was drawn ahead, with those that train), and
    handed to them as facts.
    """

    def measure(
        self, rollout: Rollout, wanted: Wanted, should_stop: ShouldStop | None = None
    ) -> Measurement:
        """What is wanted of each completion. No gradients, and nothing of the model changes.

        How rows are put together changes rounding alone. Processes that share a model call it
        together, each with rows of its own, perhaps none.
        """


@runtime_checkable
class StepBackend(Model, Protocol):
    """A runtime under our own loop. Built by ``target(config)``, then opened once."""

    def open(self, recipe: Recipe, *, needs_reference: bool, needs_entropy: bool) -> None:
        """Loads the model; ``needs_*`` come from the algorithm."""

    def open_checkpoint(self, recipe: Recipe, folder: Path | None) -> None:
        """Loads for sampling only: the base model, with the saved policy of ``folder`` if given."""

    def update(
        self,
        loss: LossFunction,
        rollout: Rollout,
        advantages: Advantages,
        selection: Selection,
        step: int,
        should_stop: ShouldStop | None = None,
    ) -> Update:
        """Trains on the selected rows. If ``should_stop`` raises, the state is as before the call."""

    def reset(self, resets: Resets) -> None:
        """Begins anew what ``resets`` names. Called just before ``update``, never with nothing set.

        Doing it twice in a row is doing it once. Between a reset of the policy and the end of the
        update nothing can be saved.
        """

    def save_policy(self, folder: Path) -> None:
        """Writes what evaluation and export need (an adapter where there is one)."""

    def save_state(self, folder: Path) -> None:
        """Writes what exact resume needs besides the policy: optimiser, reference, counters."""

    def load_state(self, folder: Path) -> None:
        """Restores policy and state from a checkpoint folder written by both ``save_*``."""

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """A step whose completions are drawn, scored and selected: what is left is the update.

    Attributes:
        resets: what begins anew just before the update.
        should_stop: None where the update must not be interrupted.
    """

    step: int
    loss: LossFunction
    rollout: Rollout
    advantages: Advantages
    selection: Selection
    resets: Resets
    should_stop: ShouldStop | None = None


class Feed(Protocol):
    """The steps of a run, for a runtime that owns the loop.

    Exceptions of both methods (an interrupt, a reward that fails, a full disk) must leave
    :meth:`LoopBackend.run` as they are.
    """

    def begin(self) -> Task | None:
        """The next step, generated through the backend's own ``generate``; None after the last."""

    def end(self, update: Update) -> None:
        """The step is trained: it is recorded, and saved where a checkpoint is due."""


class LoopBackend(Model, Protocol):
    """A runtime that owns the training loop and asks for each step. Otherwise like `StepBackend`."""

    def open(self, recipe: Recipe, *, needs_reference: bool, needs_entropy: bool) -> None: ...

    def open_checkpoint(self, recipe: Recipe, folder: Path | None) -> None: ...

    def run(self, feed: Feed) -> None:
        """``begin``, train, ``end``, until ``begin`` gives None."""

    def save_policy(self, folder: Path) -> None:
        """Called from within ``feed.end`` as well: the weights are those after the update."""

    def save_state(self, folder: Path) -> None: ...

    def load_state(self, folder: Path) -> None: ...

    def close(self) -> None: ...


def owns_loop(backend: StepBackend | LoopBackend) -> TypeGuard[LoopBackend]:
    """Told by its class: looking at the backend itself would compute its identity."""
    return hasattr(type(backend), "run")


class Callback(Protocol):
    """Watches a run. Exceptions are reported once and never stop training.

    Two more methods are called where a callback has them:
    ``on_evaluation(step: int, metrics: Mapping[str, float])`` after an evaluation during training,
    which comes after ``on_step`` of that step, and ``on_stop(run: Path)`` instead of ``on_end`` where a
    run ends before its last step: by a signal, or with an error.
    """

    def on_start(self, run: Path, recipe: Recipe) -> None: ...

    def on_step(self, record: StepRecord, samples: Sequence[Completion]) -> None: ...

    def on_end(self, run: Path) -> None: ...
