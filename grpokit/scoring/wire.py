"""What trainer and worker say to each other: one JSON object a line.

    trainer: {"path": [...], "entry": {...}, "settings": {...}, ...}        once
    worker:  {"asked": {...}}  or  {"error": {...}}                         once
    trainer: {"questions": [...], "items": [...], "units": [...], "timeout": 10.0, "ask": "score"}
    worker:  {"unit": 0, "outcomes": [...]} ... {"done": true}

``ask``: not always scores are asked for, but also the continuations whose log-probs the reward wants to
know, or the answer or the confidence that it reads in a completion.

The trainer's first line holds a random key, and every line of the worker begins with it: what else
foreign code writes into the channel, on purpose or not, is no answer. Text goes as ASCII with
escapes, so a lone surrogate or a NUL in a completion does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any

from grpokit.registry.catalog import Entry
from grpokit.registry.record import PluginRecord
from grpokit.scoring.call import Ask, Batch, Item, Question, Unit
from grpokit.scoring.signature import Asked
from grpokit.scoring.values import Fault, Outcome
from grpokit.spec.components import RewardSpec
from grpokit.spec.flow import Continuation

__all__ = [
    "UnsendableError",
    "asked_to_json",
    "dump",
    "entry_from_json",
    "entry_to_json",
    "outcome_from_json",
    "outcome_to_json",
    "request",
    "request_from_json",
]


class UnsendableError(Exception):
    """A row holds a value that has no JSON form."""


def dump(message: object) -> bytes:
    """One line."""
    return _encode(message).encode("ascii") + b"\n"


def _plain(value: object) -> Any:
    to_list: Callable[[], Any] | None = getattr(value, "tolist", None)
    if to_list is not None:  # numpy arrays and scalars, tensors
        return to_list()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | Fraction | PurePath):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, Mapping):
        return dict(value)
    raise UnsendableError(f"a {type(value).__name__} cannot be sent to the reward's process")


_encode = json.JSONEncoder(default=_plain, separators=(",", ":")).encode
"""Made once: rewards replace ``json.dumps`` by faster ones of another kind."""


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """Enough of a catalog entry to build the component in another process without discovery."""
    spec, plugin = entry.spec, entry.plugin
    return {
        "id": entry.id,
        "spec": {
            "name": spec.name,
            "summary": spec.summary,
            "target": spec.target,
            "config": spec.config,
            "needs": sorted(spec.needs),
            **{name: getattr(spec, name, "") for name in ("continuations", "answer", "confidence")},
        },
        "plugin": {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "module": plugin.module,
        },
    }


def entry_from_json(data: Mapping[str, Any]) -> Entry:
    spec = data["spec"]
    return Entry(
        id=data["id"],
        kind="reward",
        spec=RewardSpec(**{**spec, "needs": frozenset(spec["needs"])}),
        plugin=PluginRecord(**data["plugin"], state="loaded"),
    )


def request(
    batch: Batch, units: Sequence[Unit], asked: Asked, timeout: float, *, ask: Ask = "score"
) -> bytes:
    """A batch as one line, with only those columns and facts that the reward asks for."""
    names = {*asked.required, *asked.optional}
    facts = asked.facts()
    talk = asked.everything or bool(names & {"prompt", "prompts", "messages"})
    questions = [
        [
            {name: question.row[name] for name in asked.columns(question.row)},
            list(question.messages) if talk else [],
        ]
        for question in batch.questions
    ]
    items = []
    for i in batch.items:
        measured = {name: i.facts[name] for name in facts if name in i.facts}
        plain = [i.question, i.sample, i.completion, i.finish, i.tokens]
        items.append([*plain, measured] if measured else plain)
    return dump(
        {
            "questions": questions,
            "items": items,
            "units": [list(unit) for unit in units],
            "timeout": timeout,
            "ask": ask,
        }
    )


def request_from_json(data: Mapping[str, Any]) -> tuple[Batch, list[list[int]], float]:
    batch = Batch(
        questions=[Question(row, messages) for row, messages in data["questions"]],
        items=[Item(*item) for item in data["items"]],
    )
    return batch, data["units"], data["timeout"]


def asked_to_json(asked: Asked) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in asked.__dataclass_fields__}


def outcome_to_json(outcome: Outcome) -> Any:
    """A bare score where there is nothing else to say."""
    if outcome.fault is not None:
        fault = outcome.fault
        return {"fault": [fault.kind, fault.message, fault.remedy, fault.trace]}
    if outcome.continuations:
        return {"continuations": [[one.before, one.target] for one in outcome.continuations]}
    if not outcome.components and not outcome.note:
        return outcome.value
    return {"value": outcome.value, "components": outcome.components, "note": outcome.note}


def outcome_from_json(data: Any) -> Outcome:
    if not isinstance(data, dict):
        return Outcome(value=data)
    if "fault" in data:
        kind, message, remedy, trace = data["fault"]
        return Outcome(fault=Fault(kind=kind, message=message, remedy=remedy, trace=trace))
    if "continuations" in data:
        texts = data["continuations"]
        return Outcome(
            continuations=tuple(Continuation(before=b, target=target) for b, target in texts)
        )
    return Outcome(value=data["value"], components=data["components"], note=data["note"])
