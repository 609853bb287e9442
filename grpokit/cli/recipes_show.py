"""How receipts look: in the list, under a recipe, and as a table of facts. All of it is foreign text."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from grpokit.cli import render
from grpokit.cli.page import WIDTH
from grpokit.evaluate.intervals import claim
from grpokit.receipts.facts import Fact, duration, holds, points

if TYPE_CHECKING:
    from grpokit.receipts.model import Receipt, RunFact

__all__ = ["in_short", "receipt_lines", "show_facts"]

LABEL = 10
PACKAGES = ("python", "torch", "transformers", "trl", "vllm", "unsloth", "peft")
STYLES = {"differs": "bold red", "noted": "yellow", "not checked": "dim"}
LIMIT = 300


def in_short(receipt: Receipt) -> str:
    """``79.2% (+64.8)``: the trained model's value, and points gained; means over the seeds."""
    over = receipt.over_seeds
    value = over.trained if over else receipt.runs[0].trained.value
    gain = over.difference if over else receipt.runs[0].difference.value
    return f"{100 * value:.1f}% ({points(gain)})"


def receipt_lines(name: str, receipt: Receipt) -> list[str]:
    """The receipt as comments of YAML, at most 80 columns: what is printed stays a recipe."""
    lines = [f"# receipt of {_dates(receipt)}; check it: grpokit recipes verify {_safe(name)}"]
    for label, value in _rows(receipt):
        head = f"#   {label:<{LABEL}} "
        lines += textwrap.wrap(
            _safe(value),
            WIDTH,
            initial_indent=head,
            subsequent_indent=f"#   {'':<{LABEL}} ",
            break_on_hyphens=False,
        ) or [head.rstrip()]
    return lines


def _safe(value: object) -> str:
    return render.safe(value, limit=LIMIT, one_line=True)


def _dates(receipt: Receipt) -> str:
    return _safe(" to ".join(dict.fromkeys((_first(receipt).date, receipt.runs[-1].date))))


def _first(receipt: Receipt) -> RunFact:
    return receipt.runs[0]


def _rows(receipt: Receipt) -> Iterable[tuple[str, str]]:
    metric = receipt.metric
    yield from _result(receipt)
    drawn = metric.sampling.get("temperature", "0")
    how = "greedy" if drawn == "0" else f"sampled at temperature {drawn}"
    yield "", f"{metric.reward} >= {metric.threshold:g} on {metric.n} held-out questions, {how}"
    several = len(receipt.runs) > 1
    for run in receipt.runs:
        yield ("runs" if several else "run") if run is _first(receipt) else "", _run(run, several)
    yield from _places(receipt)
    model = receipt.model
    revision = f", revision {model.revision}" if model.revision else ""
    named = receipt.recipe.values.get("model.id", model.id)
    yield "model", f"{named}{revision}, weights {model.weights or 'not recorded'}"
    train, held_out = receipt.train, receipt.eval
    told = f"{train.use} {train.fingerprint}; held out {held_out.use} {held_out.fingerprint}"
    yield "data", told
    yield "rewards", ", ".join(f"{r.name} x {r.weight:g} ({r.source})" for r in receipt.rewards)
    yield "probes", "; ".join(dict.fromkeys(_checked(run) for run in receipt.runs))
    if receipt.note:
        yield "note", receipt.note


def _result(receipt: Receipt) -> Iterable[tuple[str, str]]:
    over, name = receipt.over_seeds, receipt.metric.name
    if over is None:
        yield name, _one(_first(receipt))
        yield "", f"{claim(*_first(receipt).difference.interval)}; one seed says nothing of others"
        return
    seeds = len(receipt.runs)
    base, trained = f"{100 * over.base:.1f}%", f"{100 * over.trained:.1f}%"
    yield name, f"{base} -> {trained}, {points(over.difference)} points: means of {seeds} seeds"
    low, high = f"{100 * over.lowest:.1f}%", f"{100 * over.highest:.1f}%"
    yield "", f"the trained lie from {low} to {high}, sd {100 * over.deviation:.1f} points"


def _one(run: RunFact) -> str:
    low, high = run.difference.interval
    return (
        f"{100 * run.base.value:.1f}% -> {100 * run.trained.value:.1f}%, "
        f"{points(run.difference.value)} points (95% interval {points(low)} to {points(high)})"
    )


def _run(run: RunFact, several: bool) -> str:
    told = f"seed {run.seed}: {run.steps} steps, {duration(run.seconds)}, "
    told += f"{run.completions} completions, {run.tokens} tokens"
    return f"{told}; {_one(run)}" if several else told


def _places(receipt: Receipt) -> Iterable[tuple[str, str]]:
    """Hardware and versions, each once where all runs say the same."""
    yield "hardware", "; ".join(dict.fromkeys(_hardware(run.hardware) for run in receipt.runs))
    own = ", ".join(f"{name} {version}" for name, version in receipt.plugins.items())
    yield "versions", own
    yield "", "; ".join(dict.fromkeys(_packages(run.packages) for run in receipt.runs))


def _hardware(hardware: Mapping[str, str]) -> str:
    parts = [hardware.get("gpu", ""), hardware.get("cpu", "")]
    parts.append(f"{hardware['cores']} cores" if "cores" in hardware else "")
    parts.append(hardware.get("memory", ""))
    if "OMP_NUM_THREADS" in hardware:
        parts.append(f"OMP_NUM_THREADS={hardware['OMP_NUM_THREADS']}")
    return ", ".join(filter(None, parts)) + ("" if "gpu" in hardware else ", no GPU")


def _packages(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {packages[name]}" for name in PACKAGES if name in packages)


def _checked(run: RunFact) -> str:
    check = run.reward_check
    if check.state != "checked":
        return f"{check.state}: {check.reason}" if check.reason else check.state
    if not check.findings:
        return f"{check.probes} probes of the rewards, nothing found"
    return f"{check.probes} probes of the rewards; found {', '.join(check.findings)}"


def show_facts(name: str, receipt: Receipt, facts: Sequence[Fact]) -> None:
    """The table of ``recipes verify``: state, fact, what was found, and what to do about it."""
    render.say(f"receipt of {_safe(name)}, {_dates(receipt)}", "bold")
    states = max(len(fact.state) for fact in facts)
    names = min(24, max(len(fact.name) for fact in facts))
    indent = states + names + 6
    for fact in facts:
        head = f"  {fact.state:<{states}}  {_safe(fact.name):<{names}}  "
        _folded(f"{_safe(fact.text)}", head, indent, STYLES.get(fact.state, ""))
        if fact.remedy and fact.state in ("differs", "not checked"):
            _folded(_safe(fact.remedy), " " * indent + "-> ", indent + 3, "")
    _end(name, facts)


def _folded(text: str, head: str, indent: int, style: str) -> None:
    for line in textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=" " * indent, break_on_hyphens=False
    ) or [head.rstrip()]:
        render.say(line, style)


def _end(name: str, facts: Sequence[Fact]) -> None:
    counts: Counter[str] = Counter(fact.state for fact in facts)
    order = ("same", "recomputed", "noted", "differs", "not checked")
    told = ", ".join(f"{counts[state]} {state}" for state in order if counts[state])
    good = holds(facts)
    verdict = f"{_safe(name)}: the receipt {'holds' if good else 'does not hold'}"
    render.say(verdict, "bold green" if good else "bold red")
    render.say(f"  {told}")
