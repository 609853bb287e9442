"""The cases of a plugin, executed, and the contract of each reward on their rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pydantic import ValidationError

from grpokit.scaffold.cases import FILE, WANTED, Case, Line, find_cases, read_cases
from grpokit.scaffold.findings import Check, errors, warnings
from grpokit.scaffold.probes import Asker, contract_problems, outcome_problems

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.registry.record import PluginRecord
    from grpokit.scoring.values import Outcome

__all__ = ["check_cases"]

SHOWN = 60
"""Letters of a completion that a finding shows."""
MOST = 20
"""Findings of one file that are told."""
SAME = 3
"""Completions above one gold completion from which on the gold one is told instead of each of them."""


def check_cases(catalog: Catalog, plugin: PluginRecord) -> Check:
    """Executes the cases of a plugin's rewards, and the contract of each reward on their rows.

    Rewards that need to know what the model says have no cases: there is no model here.
    """
    from grpokit.scoring.facts import needs_model

    rewards = {
        entry.spec.name: entry for entry in catalog.entries("reward") if entry.plugin is plugin
    }
    if not rewards:
        return Check("cases", note="it has no reward", skipped=True)
    if all(map(needs_model, rewards.values())):
        return Check("cases", note="its rewards need a model, and none is open here", skipped=True)
    path = find_cases(plugin)
    if path is None:
        text = f"there is no {FILE} beside the package's __init__.py: nothing says what its rewards must answer"
        return Check("cases", warnings([text]))
    try:
        cases = read_cases(path.read_bytes())
    except ValueError as error:
        return Check("cases", errors(_first(str(error).splitlines())))
    found: list[str] = []
    told = [name for name, entry in rewards.items() if not needs_model(entry)]
    with _Askers() as askers:
        for case in cases:
            entry = rewards.get(case.reward)
            if entry is None:
                known = ", ".join(rewards)
                text = f"the plugin has no reward {case.reward!r}; it has {known}"
                found.append(f"{FILE}:{case.number}: {text}")
            elif needs_model(entry):
                text = f"the reward {case.reward!r} needs a model, and none is open here"
                found.append(f"{FILE}:{case.number}: {text}; test it in tests/")
            else:
                found += _run(askers, entry, case)
    missing = [text for name in told for text in _missing(name, cases)]
    count = sum(len(case.lines) for case in cases)
    note = f"{count} completions of {len(cases)} row{'s' * (len(cases) != 1)}"
    return Check("cases", (*errors(_first(found)), *warnings(missing)), note=note)


def _first(texts: Sequence[str]) -> Iterator[str]:
    yield from texts[:MOST]
    if len(texts) > MOST:
        yield f"and {len(texts) - MOST} more"


def _missing(name: str, cases: Sequence[Case]) -> Iterator[str]:
    kinds = {line.kind for case in cases if case.reward == name for line in case.lines}
    if kinds == {"abstain"}:
        return  # the file says that no case has what it asks for, such as the number of tokens
    missing = [kind for kind in WANTED if kind not in kinds]
    if missing:
        yield f"{FILE} has no {' and no '.join(missing)} completion for the reward {name!r}"


class _Askers(ExitStack):
    """One worker for all cases of a reward with the same settings."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Asker] = {}

    def of(self, entry: Entry, case: Case) -> Asker:
        key = json.dumps([entry.id, case.settings], sort_keys=True)
        if key not in self._known:
            self._known[key] = self.enter_context(Asker(entry, case.settings))
        return self._known[key]


def _run(askers: _Askers, entry: Entry, case: Case) -> Iterator[str]:
    from grpokit.errors import ComponentError

    where = f"{FILE}:{case.number} ({case.reward})"
    try:
        asker = askers.of(entry, case)
    except (ComponentError, ValidationError) as error:
        yield f"{where}: the reward cannot be made: {error}"
        return
    missing = asker.asked.missing(tuple(case.row))
    if missing:
        yield f"{where}: it asks for {', '.join(missing)}; the row has {', '.join(case.row)}"
        return
    outcomes = asker.scores(case.row, [line.text for line in case.lines]) if case.lines else []
    told = list(zip(case.lines, outcomes, strict=True))
    for line, outcome in told:
        place = f"{FILE}:{line.number} ({case.reward}): {line.kind} {_shown(line.text)}"
        yield from (f"{place}: {text}" for text in _problems(line, outcome, asker.bounds))
    yield from (f"{FILE}:{text}" for text in _order(case.reward, told))
    if not any(outcome.fault for outcome in outcomes):
        yield from (f"{where}: {text}" for text in contract_problems(asker, case.row))


def _problems(line: Line, outcome: Outcome, bounds: tuple[float, float] | None) -> Iterator[str]:
    """Faults, scores that are not those asked for, and abstentions in the wrong place."""
    yield from outcome_problems(outcome, bounds)
    if outcome.fault is not None:
        return
    value = outcome.value
    if line.kind == "abstain":
        if value is not None:
            yield f"scored {value:g}; it must abstain (None)"
    elif value is None:
        yield (
            "abstained (None); a right answer must have a score"
            if line.kind == "gold"
            else "abstained (None), so training would not hold it against the model; "
            "return a low score, or list it under abstain"
        )
    elif line.score is not None and not math.isclose(value, line.score, abs_tol=1e-6):
        yield f"scored {value:g}; the case says {line.score:g}"


def _order(reward: str, told: Sequence[tuple[Line, Outcome]]) -> Iterator[str]:
    """The worst gold must earn more than the best of the others."""
    known = [(outcome.value, line) for line, outcome in told if outcome.value is not None]
    golds = [(value, line) for value, line in known if line.kind == "gold"]
    if not golds:
        return
    low, gold = min(golds, key=lambda each: each[0])
    over = [
        (value, line) for value, line in known if line.kind in ("wrong", "trick") and value >= low
    ]
    best = max(value for value, _ in golds)
    if len(over) >= SAME and low < best:  # it is not they that stand out
        numbers = ", ".join(dict.fromkeys(str(line.number) for _, line in over[:MOST]))
        yield (
            f"{gold.number} ({reward}): gold {_shown(gold.text)} earns {low:g}, and so much or more "
            f"earn {len(over)} completions that are not right (lines {numbers})"
        )
        return
    for value, line in over:
        yield (
            f"{line.number} ({reward}): {line.kind} {_shown(line.text)} earns {value:g}, and gold "
            f"{_shown(gold.text)} (line {gold.number}) earns {low:g}; every gold completion must earn more"
        )


def _shown(text: str) -> str:
    r"""In quotes, in one line, with nothing that steers a terminal; a ``\`` as it stands in the file."""
    short = text if len(text) <= SHOWN else text[:SHOWN] + "..."
    return repr(short).replace("\\\\", "\\")
