"""The check itself: from rewards and rows to a :class:`Report`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from grpokit.compose.trials import paid
from grpokit.errors import PreflightError
from grpokit.probes import contract
from grpokit.probes.expand import make_cases
from grpokit.probes.gold import choose_way, gold_column, gold_of, names_gold, sees_row
from grpokit.probes.judge import Result, judge, margins_of, rates
from grpokit.probes.library import Probe, Way, probes
from grpokit.probes.measure import TOTAL, Bench, Cell, Measured, OutOfTimeError
from grpokit.probes.odd import leaks, odd_rows, varied
from grpokit.probes.outside import Audit, audit_texts, audited, percentile, start_audits, unheard
from grpokit.probes.pieces import Work, pieces, text_of, work_of
from grpokit.probes.report import Checked, Finding, Report
from grpokit.probes.strategies import format_share, padding, scoreboard
from grpokit.scoring.facts import needs_model
from grpokit.scoring.memory import MEMORY
from grpokit.scoring.scorer import RewardSetup, Scorer
from grpokit.scoring.signature import Asked
from grpokit.spec.components import RewardSpec
from grpokit.spec.flow import Prompt

__all__ = ["check"]

HUNG = 1
"""Probes without an end after which the short check tries no further ones of that kind."""
SLACK = 0.5
AGAIN = 3
"""How often the whole check asks for each completion."""
PATIENCE = 20.0
"""Seconds that nobody is told of."""


def check(
    setups: Sequence[RewardSetup],
    rows: Sequence[Prompt | Mapping[str, Any]],
    *,
    seconds: float | None = None,
    timeout: float = 10.0,
    memory: float | None = MEMORY,
    scorer: Scorer | None = None,
    way: Way | None = None,
    template: str = "plain",
    hint: str = "",
    step_completions: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Probes rewards on rows.

    Args:
        setups: the rewards with their weights.
        rows: prompts, or rows of a data set whose column ``question`` is the prompt.
        seconds: the short check, which ends after this time; None for the whole one.
        timeout, memory: seconds a completion and GiB a worker, as in ``scoring``.
        scorer: one of these rewards that runs already; it is left running.
        way: how an answer is written; found by trying when left out.
        template: ``prompt.use``, of equal ways the one that it asks for is taken.
        hint: the name of a way that is tried first, where time is short.
        step_completions: completions of a training step, for the projection.
        tell: called with a line if the whole check will take long.

    Raises:
        PreflightError: the rows lack a column, or there is none.
        ComponentError: a reward cannot be imported or built.
    """
    prompts = [_prompt(row, index) for index, row in enumerate(rows)]
    if not prompts:
        raise PreflightError("there is no row to probe", remedy="raise --rows")
    began = time.monotonic()
    with ExitStack() as stack:
        if scorer is None:
            scorer = stack.enter_context(Scorer(setups, timeout=timeout, memory=memory))
        run = _Run(setups, prompts, scorer, seconds, template, hint, way, tell)
        stack.callback(run.close)
        run.measure()
        return run.report(step_completions, time.monotonic() - began)


def _prompt(row: Prompt | Mapping[str, Any], index: int) -> Prompt:
    if isinstance(row, Prompt):
        return row
    question = str(row.get("question", row.get("prompt", "")))
    return Prompt(
        id=str(index), index=index, row=row, messages=({"role": "user", "content": question},)
    )


@dataclass
class _Run:
    """One check from start to end."""

    setups: Sequence[RewardSetup]
    prompts: list[Prompt]
    scorer: Scorer
    seconds: float | None
    template: str
    hint: str
    way: Way | None
    tell: Callable[[str], None] | None
    results: list[Result] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    latency: dict[str, float | None] = field(default_factory=dict)
    import_seconds: dict[str, float] = field(default_factory=dict)
    per_completion: float | None = None
    certain: bool = True
    """That the rewards tell right from wrong in this way of writing, or in none."""

    def __post_init__(self) -> None:
        columns = tuple(dict.fromkeys(name for prompt in self.prompts for name in prompt.row))
        problems = self.scorer.problems(columns)
        if problems:
            raise PreflightError(
                problems[0].fact,
                remedy=problems[0].remedy,
                problems=tuple(f"{problem.fact}; {problem.remedy}" for problem in problems),
            )
        self.asked: dict[str, Asked] = self.scorer.asked()
        self.column = gold_column(self.setups, self.asked, columns) or ""
        golds = [gold_of(prompt.row, self.column) for prompt in self.prompts]
        known = [(p, g) for p, g in zip(self.prompts, golds, strict=True) if g]
        self.blind = not known
        if known and len(known) < len(golds):
            without = len(golds) - len(known)
            self.notes.append(f"{without} of {len(golds)} rows have no gold answer: left out")
        pairs = known or [(prompt, "42") for prompt in self.prompts]
        self.cases = make_cases([p for p, _ in pairs], [g for _, g in pairs])
        self.bench = Bench(self.scorer, seconds=self.seconds)
        self.subjects: list[str] = []

    @property
    def short(self) -> bool:
        return self.seconds is not None

    def close(self) -> None:
        """Ends what was started."""
        for audit in self.audits:
            audit.close()

    def measure(self) -> None:
        """All that calls rewards."""
        try:
            if self.way is None:
                found = choose_way(self.bench, self.cases, self.template, self.hint)
                self.way, self.certain = found
            self._probe()
            self._odd()
            self._time()
            self._vary()
        except OutOfTimeError:
            self.notes.append(f"the check ended after its {self.seconds:g} seconds")
            tried = {result.probe.id for result in self.results}
            self.missed += [probe.id for probe in self._probes() if probe.id not in tried]
        for audit, here in zip(self.audits, self._here(), strict=True):
            self._heard(audit, here)

    def _probes(self) -> list[Probe]:
        return [probe for probe in probes() if probe.short or not self.short]

    def _probe(self) -> None:
        """Everything but the probes that are timed, bit by bit where time is short."""
        assert self.way is not None
        work = work_of([p for p in self._probes() if p.within is None], self.cases, self.way)
        self._announce(work)
        rows: dict[int, list[Measured]] = {}
        began, before = time.monotonic(), self.bench.completions
        for number, found in pieces(self.bench, self.way, work, bits=self.short):
            case = work[number][0]
            self.results += [Result(probe, case, measured) for probe, measured in found]
            rows.setdefault(number, []).extend(measured for _, measured in found)
            asked = self.bench.completions - before
            self.per_completion = (time.monotonic() - began) / asked if asked else None
        if paid(self.setups):
            self.notes.append("calls cost money: nothing was asked twice")
            return
        self.audits = start_audits(self.scorer, self.cases[0], self.way)
        self.notes += unheard(self.setups, self.audits)
        again = [(work[number][0], row) for number, row in rows.items()]
        again = again[:2] if self.short else again
        self.findings += contract.repeats(self.bench, self.way, again, self.setups)

    def _announce(self, work: Sequence[Work]) -> None:
        """Says how long it will take, where somebody waits for it."""
        assert self.way is not None
        if self.tell is None or self.short or not self.cases:
            return
        began, before = time.monotonic(), self.bench.completions
        self.bench.measure(self.cases[:1], self.way, [[text for _, text in work[0][1][:3]]])
        each = (time.monotonic() - began) / (self.bench.completions - before)
        asked = sum(len(found) + 2 for _, found in work) * (1 if paid(self.setups) else AGAIN)
        if each * asked > PATIENCE:
            minutes = max(1, round(each * asked / 60))
            self.tell(f"about {minutes} min for {asked:,} completions; --rows makes it shorter")

    def _odd(self) -> None:
        assert self.way is not None
        if self.blind or self.short or not self.results:
            return
        first = self.results[0]
        unsteady = self._unsteady()
        steady = {s.name: (s, self._reads(s)) for s in self.setups if s.name not in unsteady}
        self.findings += odd_rows(
            self.bench, self.way, first.case, self.column, steady, first.measured
        )

    def _vary(self) -> None:
        """Rewards that may give everything the same."""
        assert self.way is not None
        names = [s.name for s in self.setups if s.weight and not needs_model(s.entry)]
        names = [TOTAL, *names] if len(names) > 1 else [TOTAL] * len(names)
        same = [name for name in names if contract.constant(self.results, name)]
        if same and not paid(self.setups):
            self.findings += varied(self.bench, self.way, self.cases[0], same, len(self.results))

    def _unsteady(self) -> set[str]:
        """Rewards whose scores change anyway: comparing them says nothing more."""
        promises = ("contract.determinism", "contract.batch_independence")
        return {found.subject for found in self.findings if found.id in promises}

    def _time(self) -> None:
        """Hostile completions, each alone, so that its seconds are its own."""
        assert self.way is not None
        hung = 0
        case = self.cases[0]
        first = self.results[0].measured if self.results else None
        for probe in self._probes():
            text = text_of(probe, case, self.way) if probe.within is not None else None
            if text is None or first is None or probe.within is None:
                continue
            if self.short and hung >= HUNG:
                self.missed.append(probe.id)
                continue
            limit = probe.within + SLACK
            found, seconds = self.bench.time(case, self.way, text, limit, first)
            if seconds > probe.within and not (self.short and found is None):  # a busy machine
                found, seconds = self.bench.time(case, self.way, text, limit, first)
            hung += found is None
            measured = found or Measured(text, first.wrong, first.right, first.wrong)
            self.results.append(Result(probe, case, measured, seconds))

    def _here(self) -> Sequence[Sequence[Cell] | None]:
        """What the completions of the audits get in the workers of training."""
        if self.short or not self.audits or self.way is None:
            return [None] * len(self.audits)
        texts = audit_texts(self.cases[0], self.way)
        return self.bench.ask([self.cases[0].prompt], [texts]) * len(self.audits)

    def _heard(self, audit: Audit, here: Sequence[Cell] | None) -> None:
        answer = audit.finish(self.bench.end)
        if "lost" in answer and self.short:
            self.notes.append(f"{audit.setup.name}: calls from other threads: {answer['lost']}")
            return
        unsteady = audit.setup.name in self._unsteady()
        self.findings += audited(audit, answer, here, compare=not unsteady)
        if "seconds" in answer:
            self.latency[audit.setup.name] = percentile(answer["seconds"])
            self.import_seconds[audit.setup.name] = answer["import_seconds"]

    def report(self, step_completions: int | None, seconds: float) -> Report:
        """What was measured, judged."""
        self._read()
        checked = self._judge()
        main = TOTAL if TOTAL in self.subjects or not self.subjects else self.subjects[0]
        board = scoreboard(self.results, main, judged=bool(self.subjects))
        counted = rates(self.results if self.subjects else (), main)
        golds = [case.gold for case in self.cases]
        padded = padding(self.results if self.subjects else (), main)
        right, wrong, silent, share = format_share(self.results, main)
        order = {"critical": 0, "warning": 1, "info": 2}
        return Report(
            rewards=checked,
            findings=tuple(sorted(self.findings, key=lambda found: order[found.severity])),
            strategies=board,
            way=self.way.name if self.way else "",
            rows=len(self.cases),
            probes=len({result.probe.id for result in self.results}),
            completions=self.bench.completions,
            right=right,
            wrong=wrong,
            silent=silent,
            format_share=share if self.subjects else None,
            floor=None if self.blind else golds.count(self.cases[0].common) / len(golds),
            length_right=padded[0],
            length_wrong=padded[1],
            false_accepts=counted.false_accepts,
            wrong_tried=counted.wrong_tried,
            false_rejects=counted.false_rejects,
            right_tried=counted.right_tried,
            seconds_per_completion=self.per_completion,
            step_completions=step_completions,
            seconds=seconds,
            missed=tuple(dict.fromkeys(self.missed)),
            notes=tuple(self.notes),
            short=self.short,
        )

    def _judge(self) -> tuple[Checked, ...]:
        """Adds all findings."""
        weights = {setup.name: setup.weight for setup in self.setups}
        self.findings += contract.failures(self.results, weights)
        for setup in self.setups:
            if self.reads[setup.name]:
                self.findings += contract.abstentions(self.results, setup)
        self.findings += leaks(self.cases if self.subjects else ())
        margins = list(self._margins(weights)) if self.certain else []
        known = {found.subject for found in margins}
        same = "contract.signal_variance"  # which the margin says already, and worse
        self.findings = [f for f in self.findings if f.id != same or f.subject not in known]
        self.findings += margins
        declared = frozenset(
            word
            for setup in self.setups
            if setup.weight and isinstance(setup.entry.spec, RewardSpec)
            for word in setup.entry.spec.pays
        )
        self.findings += judge(self.results, self.setups, self.subjects, declared)
        checked = tuple(map(self._checked, self.setups))
        for setup, seen in zip(self.setups, checked, strict=True):
            self.findings += contract.declared_range(setup, seen.lowest, seen.highest)
        return checked

    def _read(self) -> None:
        """Which rewards look at the gold answer: by the columns they ask for, or by what they do."""
        self.reads = {setup.name: self._reads(setup) for setup in self.setups}
        modelled = [setup.name for setup in self.setups if needs_model(setup.entry)]
        if modelled:
            self.notes.append(
                f"{', '.join(modelled)}: no model is open, so what the policy says was made up, the same "
                "for every token; promises were tried, and nothing is known of what it pays for"
            )
        weighted = [setup for setup in self.setups if setup.weight and self.reads[setup.name]]
        if not weighted:
            self.notes.append(
                "no reward with a weight tells right from wrong answers, "
                "so the probes of right and wrong say nothing here"
            )
        readers = [setup.name for setup in self.setups if self.reads[setup.name]]
        self.subjects = [TOTAL] if weighted else []
        if len(self.setups) > 1 or not weighted:
            self.subjects += readers

    def _reads(self, setup: RewardSetup) -> bool:
        if self.blind or needs_model(setup.entry):
            return False
        if names_gold(setup, self.asked[setup.name]):
            return True
        columns = tuple(self.cases[0].prompt.row)
        if not sees_row(self.asked[setup.name], columns):
            return False  # nor can it know what is right
        found = margins_of(self.results, setup.name)
        return 2 * sum((margin or 0.0) > 0 for _, margin in found) > len(found)

    def _margins(self, weights: Mapping[str, float]) -> Iterator[Finding]:
        for subject in self.subjects:
            weight = weights.get(subject, 1.0)
            yield from contract.margins(self.results, subject, weight=weight)

    def _checked(self, setup: RewardSetup) -> Checked:
        lowest, highest = contract.ranges(self.results, setup)
        name = setup.name
        counted = rates(self.results, name) if self.reads[name] else rates((), name)
        return Checked(
            name=name,
            id=setup.entry.id,
            weight=setup.weight,
            reads_answer=self.reads[name],
            needs_model=needs_model(setup.entry),
            lowest=lowest,
            highest=highest,
            latency=self.latency.get(name),
            import_seconds=self.import_seconds.get(name),
            false_accepts=counted.false_accepts,
            wrong_tried=counted.wrong_tried,
            false_rejects=counted.false_rejects,
            right_tried=counted.right_tried,
        )
