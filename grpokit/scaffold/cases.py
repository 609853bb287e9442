r"""``cases.yaml``: what a plugin's rewards must say, as rows that are executed.

    - reward: near
      with: {scale: 1.0}                       # settings, if it has any
      row: {question: "What is 3 + 4?", answer: "7"}
      gold: ['It is \boxed{7}.']               # each earns more than each of the next two
      wrong: [{say: '\boxed{8}', score: 0.5}]  # an exact score, where it is asked for
      trick: ['\boxed{7} \boxed{8}']
      abstain: []                              # the reward says None

The file stands beside the plugin's ``__init__.py``, so that the wheel has it too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from grpokit.scaffold.findings import Check, Finding, errors, warnings
from grpokit.scaffold.probes import contract_problems, outcome_problems, score_texts
from grpokit.spec.config import Config

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.registry.record import PluginRecord
    from grpokit.scoring.values import Outcome

__all__ = ["Case", "Said", "check_cases", "find_cases", "read_cases"]

FILE = "cases.yaml"
WANTED = ("gold", "wrong", "trick")
SHOWN = 60
"""Letters of a completion that a finding shows."""


class Said(Config):
    """A completion and the score that it must have."""

    say: str
    """The completion."""
    score: float
    """What it earns, within a millionth."""


class Case(Config):
    """One row, and completions of it."""

    reward: str
    """Name of a reward of this plugin."""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    """Its settings."""
    row: dict[str, Any]
    """A row of the data set."""
    gold: list[str | Said] = Field(default_factory=list)
    """Completions that are right."""
    wrong: list[str | Said] = Field(default_factory=list)
    """Completions that are wrong."""
    trick: list[str | Said] = Field(default_factory=list)
    """Completions that try to earn the score without being right."""
    abstain: list[str] = Field(default_factory=list)
    """Completions, or a row, to which the reward does not apply."""


def find_cases(plugin: PluginRecord) -> Traversable | None:
    """The plugin's file of cases; None if it has none."""
    for module in plugin.module.split(","):
        path = files(module.strip().partition(":")[0].partition(".")[0]) / FILE
        if path.is_file():
            return path
    return None


def read_cases(text: str) -> list[Case]:
    """The cases of a file.

    Raises:
        ValueError: it is no list of cases; every problem, one a line.
    """
    try:
        found = yaml.safe_load(text)
        return TypeAdapter(list[Case]).validate_python(found or [])
    except yaml.YAMLError as error:
        raise ValueError(f"{FILE} is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        lines = [
            f"{FILE}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        ]
        raise ValueError("\n".join(dict.fromkeys(lines))) from error


def check_cases(catalog: Catalog, plugin: PluginRecord) -> Check:
    """Executes the cases of a plugin's rewards, and the contract of each reward on their rows."""
    rewards = {
        entry.spec.name: entry for entry in catalog.entries("reward") if entry.plugin is plugin
    }
    if not rewards:
        return Check("cases", note="it has no reward", skipped=True)
    path = find_cases(plugin)
    if path is None:
        text = f"there is no {FILE} beside the package's __init__.py: nothing says what its rewards must answer"
        return Check("cases", warnings([text]))
    try:
        cases = read_cases(path.read_text("utf-8"))
    except ValueError as error:
        return Check("cases", errors(str(error).splitlines()))
    found: list[Finding] = []
    for number, case in enumerate(cases, start=1):
        entry = rewards.get(case.reward)
        if entry is None:
            text = f"case {number}: the plugin has no reward {case.reward!r}; it has {', '.join(rewards)}"
            found.append(Finding(text))
            continue
        found += errors(f"case {number} ({case.reward}): {text}" for text in _run(entry, case))
    for name in rewards:
        found += warnings(_missing(name, [case for case in cases if case.reward == name]))
    count = sum(
        len(case.abstain) + sum(len(getattr(case, kind)) for kind in WANTED) for case in cases
    )
    rows = "row" if len(cases) == 1 else "rows"
    return Check("cases", tuple(found), note=f"{count} completions of {len(cases)} {rows}")


def _missing(name: str, cases: Sequence[Case]) -> Iterator[str]:
    missing = [kind for kind in WANTED if not any(getattr(case, kind) for case in cases)]
    if missing:
        yield f"{FILE} has no {' and no '.join(missing)} completion for the reward {name!r}"


def _run(entry: Entry, case: Case) -> Iterator[str]:
    from grpokit.errors import ComponentError
    from grpokit.registry.resolve import create
    from grpokit.scoring.call import RewardCall

    try:
        call = RewardCall(create(entry, case.with_))
    except (ComponentError, ValidationError) as error:
        yield f"the reward cannot be made: {error}"
        return
    missing = call.asked.missing(tuple(case.row))
    if missing:
        yield f"it asks for {', '.join(missing)}; the row has {', '.join(case.row)}"
        return
    listed = [(kind, said) for kind in (*WANTED, "abstain") for said in getattr(case, kind)]
    texts = [said.say if isinstance(said, Said) else said for _, said in listed]
    try:
        outcomes = score_texts(call, case.row, texts) if texts else []
    finally:
        call.close()
    yield from _told(listed, outcomes, getattr(entry.spec, "range", None))
    scores: dict[str, list[tuple[float, str]]] = {kind: [] for kind in WANTED}
    for (kind, _), text, outcome in zip(listed, texts, outcomes, strict=True):
        if outcome.value is not None and kind in scores:
            scores[kind].append((outcome.value, text))
    yield from _order(scores)
    yield from contract_problems(entry, case.row, case.with_)


def _told(
    listed: Sequence[tuple[str, str | Said]],
    outcomes: Sequence[Outcome],
    bounds: tuple[float, float] | None,
) -> Iterator[str]:
    """Faults, scores that are not those asked for, and abstentions in the wrong place."""
    for (kind, said), outcome in zip(listed, outcomes, strict=True):
        where = f"{kind} {_shown(said.say if isinstance(said, Said) else said)}"
        yield from (f"{where}: {text}" for text in outcome_problems(outcome, bounds))
        if outcome.fault is not None:
            continue
        if kind == "abstain" and outcome.value is not None:
            yield f"{where}: scored {outcome.value:g}; it must abstain (None)"
        elif kind == "gold" and outcome.value is None:
            yield f"{where}: abstained (None); a right answer must have a score"
        elif isinstance(said, Said) and (
            outcome.value is None or not math.isclose(outcome.value, said.score, abs_tol=1e-6)
        ):
            got = "abstained (None)" if outcome.value is None else f"scored {outcome.value:g}"
            yield f"{where}: {got}; the case says {said.score:g}"


def _order(scores: Mapping[str, Sequence[tuple[float, str]]]) -> Iterator[str]:
    """The worst gold must earn more than the best of the others."""
    if not scores["gold"]:
        return
    low, gold = min(scores["gold"], key=lambda each: each[0])
    for kind in ("wrong", "trick"):
        for value, text in scores[kind]:
            if value >= low:
                yield (
                    f"{kind} {_shown(text)} earns {value:g}, and gold {_shown(gold)} earns {low:g}; "
                    "every gold completion must earn more"
                )


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")
