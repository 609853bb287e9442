"""Rewards of verifiers (the ``verifiers.v1`` interface), called with its own task data and trace.

A function is ``async f(task, trace) -> score`` or a mapping of scores, which are added up. A taskset's
package stands for all rewards of its task, added up with their weights; rewards that need a sandbox
are refused, and so are tasks with judges. The row's columns are the task's data.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from grpokit.errors import ComponentError
from grpokit.registry.foreign.reference import Reference
from grpokit.registry.foreign.signature import parameters, with_signature
from grpokit.registry.output import stdout_to_stderr
from grpokit.spec.contracts import Score

__all__ = ["of_function", "of_taskset"]

_ASKED = ("completion", "truncated", "messages", "row")


def of_function(reference: Reference, function: Callable[..., Any]) -> Callable[..., Any]:
    """The reward that calls a function that verifiers could plug into a task."""
    asks = parameters(function, reference.text)
    asks.refuse_other(("task", "trace"), "verifiers without a sandbox")
    make = _Maker(reference)

    async def scored(**given: Any) -> Any:
        data = make.data(make.wire, given)
        value = function(**asks.takes({"task": data, "trace": make.trace(data, given)}))
        return _read(await value if inspect.isawaitable(value) else value)

    return with_signature(scored, _ASKED)


def of_taskset(reference: Reference) -> Callable[..., Any]:
    """The reward that runs a task's own scoring."""
    make = _Maker(reference)
    task_class, data_class = _task(reference)

    async def scored(**given: Any) -> Any:
        data = make.data(data_class, given)
        task = task_class(data)
        _refuse_sandboxes(task, reference)
        trace = make.trace(data, given)
        await task.score(trace, None)
        parts = {name: each.score for name, each in trace.rewards.items() if each is not None}
        return Score(value=trace.reward if parts else None, components=parts)

    return with_signature(scored, _ASKED)


class _Maker:
    """Makes task data and traces; importing verifiers takes seconds."""

    def __init__(self, reference: Reference) -> None:
        try:
            with stdout_to_stderr():
                from verifiers.v1.configs.agent import AgentConfig
                from verifiers.v1.graph import MessageNode
                from verifiers.v1.task import WireTaskData
                from verifiers.v1.trace import AgentInfo, Trace, TraceTask
                from verifiers.v1.types import AssistantMessage, SystemMessage, UserMessage
        except ImportError as error:
            raise ComponentError(
                f"verifiers cannot be imported: {error}",
                place=reference.text,
                remedy="pip install 'verifiers>=0.2'",
            ) from error
        self.wire = WireTaskData
        self._node, self._trace, self._task = MessageNode, Trace, TraceTask
        self._agent = AgentInfo(config=AgentConfig())
        self._said = {
            "assistant": AssistantMessage,
            "system": SystemMessage,
            "user": UserMessage,
        }

    def data(self, kind: Any, given: Mapping[str, Any]) -> Any:
        """The row as task data; the prompt is what the user said last where it has none."""
        row = dict(given["row"])
        row.setdefault("prompt", _last(given["messages"]))
        return kind.model_validate(row)

    def trace(self, data: Any, given: Mapping[str, Any]) -> Any:
        """The conversation with the completion as its last reply."""
        nodes = [
            self._node(
                parent=index - 1 if index else None,
                message=self._said[each["role"]](content=each["content"]),
            )
            for index, each in enumerate(given["messages"])
        ]
        reply = self._said["assistant"](content=given["completion"])
        nodes.append(
            self._node(parent=len(nodes) - 1 if nodes else None, sampled=True, message=reply)
        )
        return self._trace(
            task=self._task(type=type(data).__name__, data=data),
            agent=self._agent,
            nodes=nodes,
            is_completed=True,
            ok=True,
            stop_condition="max_output_tokens" if given["truncated"] else None,
        )


def _task(reference: Reference) -> tuple[Any, Any]:
    # The border to foreign code.
    try:
        with stdout_to_stderr():
            from verifiers.v1.utils.loaders import task_type

            kind = task_type(reference.module)
            return kind, kind.data_type()
    except Exception as error:
        raise ComponentError(
            f"its taskset cannot be loaded: {type(error).__name__}: {error}",
            place=reference.text,
            remedy="name a package with a Taskset in __all__, or a function: "
            "verifiers:pkg.mod:function",
        ) from error


def _refuse_sandboxes(task: Any, reference: Reference) -> None:
    """What needs a runtime is skipped there; a total without it would be another reward."""
    hooks: Sequence[Callable[..., Any]] = task.hooks("reward")
    needy = [each.__name__ for each in hooks if "runtime" in parameters(each, "").required]
    if needy or task.NEEDS_CONTAINER or task.plugged_judges():
        raise ComponentError(
            f"its task needs a sandbox or a judge ({', '.join(needy) or type(task).__name__})",
            place=reference.text,
            remedy="train it with verifiers, or name one of its functions that needs neither",
        )


def _read(value: Any) -> Any:
    if isinstance(value, Mapping):
        parts = {str(name): part for name, part in value.items()}
        wrong = [name for name, part in parts.items() if not isinstance(part, Real)]
        if wrong:
            raise TypeError(f"{', '.join(wrong)} of what it returned are no numbers")
        return Score(value=sum(parts.values()) if parts else None, components=parts)
    if value is None:
        raise TypeError("it returned None, which is no score of verifiers")
    return value


def _last(messages: Sequence[Mapping[str, Any]]) -> str:
    return next((each["content"] for each in reversed(messages) if each["role"] == "user"), "")
