"""What a reward asks for, read from its parameter names.

A parameter is a fact of the completion or of its prompt, or else a column of the data set. The facts
are ``completion`` (text), ``finish`` ("stop" or "length"), ``truncated``, ``tokens`` (their number;
None where only text is scored), ``sample`` (0 to group - 1), ``prompt`` (the last user message),
``messages`` and ``row`` (all columns). A column with such a name is still there, in ``row``.

A reward whose spec ``needs`` a capability of ``MEASURED`` gets the facts that stand there as well: what
the policy says about the completion. For every other reward these names are columns.

In the ``batch`` form every value is a list with one entry a completion, and plural names mean the
same as singular ones. In the ``group`` form, what belongs to the prompt (``prompt``, ``messages``,
``row`` and columns) is one value under its singular name and a list under its plural one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from grpokit.errors import ComponentError
from grpokit.spec.rewards import RewardForm, form_of

__all__ = ["MEASURED", "Asked", "Source", "ask", "missing_columns", "source"]

COMPLETION_FACTS = ("completion", "finish", "truncated", "tokens", "sample")
PROMPT_FACTS = ("prompt", "messages", "row")
MEASURED = {
    "token-statistics": ("logprobs", "self_certainty", "vocabulary_size"),
    "continuations": ("continuation_logprobs",),
}
"""Capability -> facts that a reward gets which needs it."""
PLURALS = {
    "completions": "completion",
    "prompts": "prompt",
    "rows": "row",
    "samples": "sample",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A reward's signature as data, so that the trainer knows it without importing the reward.

    Attributes:
        form: row, batch or group.
        is_async: the function is a coroutine function.
        required: parameters without a default.
        optional: parameters with one.
        everything: it takes ``**kwargs`` and gets every fact and column.
        measured: facts of the policy that it can ask for.
    """

    form: RewardForm
    is_async: bool
    required: tuple[str, ...]
    optional: tuple[str, ...]
    everything: bool
    measured: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Asked:
        return cls(
            form=data["form"],
            is_async=data["is_async"],
            required=tuple(data["required"]),
            optional=tuple(data["optional"]),
            everything=data["everything"],
            measured=tuple(data["measured"]),
        )

    def source(self, name: str, columns: Collection[str]) -> Source | None:
        """Where this reward's parameter comes from."""
        return source(name, self.form, columns, self.measured)

    def facts(self) -> tuple[str, ...]:
        """The facts of the policy that it does ask for."""
        found = [self.source(name, ()) for name in (*self.required, *self.optional)]
        named = {hit.name for hit in found if hit is not None and hit.kind == "measured"}
        return tuple(name for name in self.measured if self.everything or name in named)

    def missing(self, columns: Collection[str]) -> tuple[str, ...]:
        """Required names that nothing provides."""
        return tuple(name for name in self.required if self.source(name, columns) is None)

    def columns(self, columns: Iterable[str]) -> tuple[str, ...]:
        """The columns of a data set that the reward wants to see."""
        columns = tuple(columns)
        found = {
            hit.name: hit
            for name in (*self.required, *self.optional)
            if (hit := self.source(name, columns)) is not None
        }
        if self.everything or "row" in found:
            return columns
        return tuple(name for name in columns if name in found and found[name].kind == "column")


@dataclass(frozen=True)
class Source:
    """Where a parameter's value comes from. ``many``: a list with one entry a completion."""

    kind: Literal["completion", "measured", "prompt", "column"]
    name: str
    many: bool


def source(
    name: str, form: RewardForm, columns: Collection[str], measured: Collection[str] = ()
) -> Source | None:
    """Resolves one parameter name; None if nothing provides it."""
    singles = [name] if form == "row" else [name, *_singulars(name)]
    for single in singles:
        plural = single != name
        if single in COMPLETION_FACTS:
            return Source("completion", single, form != "row")
        if single in measured:
            return Source("measured", single, form != "row")
        if single in PROMPT_FACTS:
            return Source("prompt", single, form == "batch" or plural)
        if single in columns:
            return Source("column", single, form == "batch" or plural)
    return None


def _singulars(name: str) -> list[str]:
    found = [PLURALS[name]] if name in PLURALS else []
    if name.endswith("ies"):
        found.append(name[:-3] + "y")
    if name.endswith("es"):
        found.append(name[:-2])
    if name.endswith("s"):
        found.append(name[:-1])
    return found


def ask(function: Callable[..., Any], needs: Collection[str] = ()) -> Asked:
    """Reads the signature of a reward whose spec ``needs`` these capabilities.

    Raises:
        ComponentError: it cannot be called by parameter names.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise ComponentError(
            f"the reward {name} is no function whose parameters can be read ({error})",
            remedy="point the spec's target at a Python function, or with config= at a factory of one",
        ) from error
    fixed = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
    if fixed:
        raise ComponentError(
            f"the reward {name} has positional-only parameters: {', '.join(fixed)}",
            remedy="remove the / from its signature: rewards are called by parameter names",
        )
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = {p.name for p in named}
    call = getattr(function, "__call__", None)  # noqa: B004  # an object's own, which may be async
    return Asked(
        form=form_of(function) or ("batch" if "completions" in names else "row"),
        is_async=inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call),
        required=tuple(p.name for p in named if p.default is p.empty),
        optional=tuple(p.name for p in named if p.default is not p.empty),
        everything=any(p.kind is p.VAR_KEYWORD for p in parameters),
        measured=tuple(fact for need in MEASURED if need in needs for fact in MEASURED[need]),
    )


def missing_columns(function: Callable[..., Any], columns: Collection[str]) -> tuple[str, ...]:
    """Names that a reward needs and the data set does not provide."""
    return ask(function).missing(columns)
