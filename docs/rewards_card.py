"""Writes docs/rewards-card.md: ``python docs/rewards_card.py``, two or three minutes.

Every reward of this repository, on the same 16 rows of arithmetic (those of ``grpokit.probes.rows``)
where it can be, with the settings below. What stands on the page depends on no machine.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewards_card_parts import judge_server, task_rows, tiny_reward_model

from grpokit.errors import GrpokitError
from grpokit.probes import Report, check
from grpokit.probes.library import Way
from grpokit.probes.rows import sample_rows
from grpokit.probes.strategies import STRATEGIES
from grpokit.registry.catalog import Catalog, Entry
from grpokit.registry.resolve import build_config
from grpokit.scaffold.cases import Case, find_cases, read_cases
from grpokit.scoring.scorer import RewardSetup, Scorer

PAGE = Path(__file__).with_name("rewards-card.md")
PLUGINS = Path(__file__).parents[1] / "plugins"
BEGIN, END = "<!-- made by docs/rewards_card.py -->", "<!-- end -->"
ROWS = 16
ACROSS = 6
"""Rewards beside each other in a table."""
PAID, REFUSED = 0.05, 0.95
OF_THE_MACHINE = ("contract.latency_p99", "contract.import_time")
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "format": {"boxed": True},
    "length": {"unit": "characters", "max": 400},
}
"""Settings of rewards that have required ones."""
SURE = Way(
    name="boxed, sure of 0.9",
    before="This follows from the question. The answer is ",
    open="\\boxed{",
    close="}",
    after=". <confidence>0.9</confidence>",
)
WAYS: Mapping[str, Way] = {"rewards-intrinsic/brier": SURE}
"""Ways that no reward but this one asks for."""
JUDGE, MODEL, TASK = "rewards-model/judge", "rewards-model/reward-model", "reasoning-gym/score"
INSTEAD: Mapping[str, str] = {
    JUDGE: "asked a real HTTP server on the same machine, whose script compares the last box with the "
    "answer: what is measured is how the judge is asked and read, not how a model judges",
    MODEL: "a classifier of two layers with random weights: promises only",
    TASK: "16 questions of the task chain_sum",
    "rewards-intrinsic/self-certainty": "made-up facts, the same for every token: promises only",
    "rewards-intrinsic/reference-probability": "made-up facts, the same for every token: promises only",
    "rewards-intrinsic/majority-vote": "groups of three: a right answer, a wrong one, and the probe",
    "rewards-intrinsic/brier": "each answer with a confidence of 0.9",
}
"""What was run where 16 questions and a reward do not suffice."""


@dataclass(frozen=True, kw_only=True)
class Carded:
    """One reward's results: the probes', and those of its own cases (bad paid, good refused)."""

    entry: Entry
    report: Report
    paid: tuple[int, int] = (0, 0)
    refused: tuple[int, int] = (0, 0)
    findings: tuple[str, ...] = field(default=())


def ours() -> tuple[str, ...]:
    """The distributions of this repository."""
    files = sorted(PLUGINS.glob("*/pyproject.toml"))
    return ("grpokit", *(tomllib.loads(f.read_text("utf-8"))["project"]["name"] for f in files))


def entries(catalog: Catalog) -> list[Entry]:
    """All rewards of this repository."""
    known = ours()
    return [each for each in catalog.entries("reward") if each.plugin.distribution in known]


def carded(entry: Entry) -> Carded:
    """The check, on rows whose answer is a number, or else a GSM8K solution; and the plugin's cases."""
    with ExitStack() as stack:
        settings = dict(SETTINGS.get(entry.id) or _needed(entry))
        if entry.id == JUDGE:
            settings |= stack.enter_context(judge_server())
        if entry.id == MODEL:
            settings |= stack.enter_context(tiny_reward_model())
        setup = RewardSetup(name=entry.spec.name, entry=entry, settings=settings, weight=1.0)
        count = 1 if entry.id == MODEL else ROWS  # each completion takes a forward pass
        rows = task_rows(count) if entry.id == TASK else sample_rows(count)
        report = check([setup], rows, way=WAYS.get(entry.id))
        if any(found.id == "base.margin" for found in report.findings):
            report = check([setup], sample_rows(ROWS, solutions=True))
    paid, refused = of_cases(entry) if not report.rewards[0].reads_answer else ((0, 0), (0, 0))
    found = (*report.criticals, *report.warnings)
    named = dict.fromkeys(each.id for each in found if each.id not in OF_THE_MACHINE)
    names = tuple(named)
    return Carded(entry=entry, report=report, paid=paid, refused=refused, findings=names)


def _needed(entry: Entry) -> Mapping[str, Any]:
    """Settings of the plugin's first case, for a reward that cannot do without."""
    try:
        build_config(entry, {})
    except ValueError:
        cases = cases_of(entry)
        return cases[0].settings if cases else {}
    return {}


def of_cases(entry: Entry) -> tuple[tuple[int, int], tuple[int, int]]:
    """Bad completions that are paid and good ones that are refused, of the plugin's ``cases.yaml``.

    The first good and the first bad completion of a case are the measure of its others.
    """
    paid, refused = [0, 0], [0, 0]
    for case in cases_of(entry):
        good = [line.text for line in case.lines if line.kind == "gold"]
        bad = [line.text for line in case.lines if line.kind in ("wrong", "trick")]
        if not good or not bad:
            continue
        setup = RewardSetup(name="r", entry=entry, settings=case.settings)
        with Scorer([setup]) as scorer:
            (scores,) = scorer.score_texts([case.row], [[*good, *bad]]).rewards["r"]
        top, low = scores[0], scores[len(good)]
        if top is None or low is None or top <= low:
            continue
        shares = [None if each is None else (each - low) / (top - low) for each in scores]
        for share in shares[1 : len(good)]:
            refused[0] += share is None or share < REFUSED
            refused[1] += 1
        for share in shares[len(good) + 1 :]:
            paid[0] += share is not None and share > PAID
            paid[1] += 1
    return (paid[0], paid[1]), (refused[0], refused[1])


def cases_of(entry: Entry) -> list[Case]:
    """What its plugin says the reward must say; the built-in ones have a file here."""
    if entry.plugin.distribution == "grpokit":
        data = Path(__file__).with_name("rewards_card_cases.yaml").read_bytes()
    else:
        path = find_cases(entry.plugin)
        data = b"" if path is None else path.read_bytes()
    return [case for case in read_cases(data) if case.reward == entry.spec.name]


def row(card: Carded) -> str:
    """One line of a table."""
    (reward,) = card.report.rewards
    judged = reward.reads_answer
    cells = [f"`{card.entry.id}`"]
    if judged:
        cells += [card.report.way, _rate(reward.false_accepts, reward.wrong_tried)]
        cells += [_rate(reward.false_rejects, reward.right_tried)]
    else:
        cells += [_rate(*card.paid), _rate(*card.refused)]
    cells.append(", ".join(f"`{name}`" for name in card.findings) or "none")
    return "| " + " | ".join(cells) + " |"


def _rate(count: int, tried: int) -> str:
    return f"{count} of {tried} ({count / tried:.1%})" if tried else "-"


def boards(cards: Sequence[Carded], *, shares: bool) -> Iterator[str]:
    """Strategies down, rewards across: the share of the way from wrong to right, or mean scores."""
    for start in range(0, len(cards), ACROSS):
        some = cards[start : start + ACROSS]
        yield "| strategy | " + " | ".join(f"`{card.entry.id}`" for card in some) + " |"
        yield "|---" * (len(some) + 1) + "|"
        for strategy in STRATEGIES:
            cells = [_cell(card.report, strategy, shares=shares) for card in some]
            yield f"| {strategy} | " + " | ".join(cells) + " |"
        yield ""


def _cell(report: Report, strategy: str, *, shares: bool) -> str:
    found = [each for each in report.strategies if each.name == strategy]
    if not found:
        return "-"
    value = found[0].share if shares else found[0].score
    if value is None:
        return "-"
    return f"{round(value, 2) + 0.0:.0%}" if shares else f"{round(value, 2) + 0.0:g}"


def tables(cards: Sequence[Carded]) -> Iterator[str]:
    """Everything between the marks of the page."""
    readers = [card for card in cards if card.report.rewards[0].reads_answer]
    others = [card for card in cards if not card.report.rewards[0].reads_answer]
    told = [card for card in others if not card.report.rewards[0].needs_model]
    yield "## Rewards that read the answer\n"
    yield "| reward | answer written as | paid wrong | refused right | findings |"
    yield "|---|---|---|---|---|"
    yield from map(row, readers)
    yield "\n## Rewards for form, and those that need a model\n"
    yield "| reward | paid wrong | refused right | findings |"
    yield "|---|---|---|---|"
    yield from map(row, others)
    yield "\n## What was run instead\n"
    yield from (f"- `{name}`: {what}." for name, what in INSTEAD.items())
    yield "\n## What each strategy earns: share of a right answer\n"
    yield from boards(readers, shares=True)
    yield "## What each strategy earns from rewards for form: mean score\n"
    yield from boards([card for card in told if card.entry.id != MODEL], shares=False)


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cards = []
    for entry in entries(Catalog.load()):
        try:
            cards.append(carded(entry))
        except GrpokitError as error:
            raise SystemExit(f"{entry.id}: {error}") from error
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    middle = "\n".join(tables(cards)).strip()
    PAGE.write_text(f"{before}{BEGIN}\n\n{middle}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
