"""Scores the saved rollouts of a run again, without a model, and compares."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from grpokit.errors import CheckpointError, PreflightError, RewardError
from grpokit.rescore.compare import Comparison, Side, SignChanges
from grpokit.rescore.saved import SavedStep, read_steps, rollout_of, saved_columns
from grpokit.scoring.budget import SILENT, check_stop, place_of
from grpokit.scoring.facts import needs_model, no_model
from grpokit.scoring.rank import KENDALL, SPEARMAN
from grpokit.scoring.scorer import RewardSetup, Scorer, ScoringOptions
from grpokit.spec.flow import Scores

__all__ = ["TOTAL", "Job", "Rescored", "rescore"]

TOTAL = "total"
Row = Mapping[str, Any]
Rows = Callable[[SavedStep], list[Row]]
Shown = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is compared.

    Attributes:
        run: the run's folder.
        setups: the new rewards.
        weights: the run's rewards and their weights.
        against: the saved reward that the only new one stands for, or ``total`` if it stands for
            all; None where the new rewards are those of a whole recipe.
        threshold: the score from which a completion counts as right.
        rows: columns of the rows of a step; what the file has of them by default.
        columns: names of these columns; taken from the first row where they are not known.
        scoring: deadline and memory of a call, as the run had them.
    """

    run: Path
    setups: tuple[RewardSetup, ...]
    weights: Mapping[str, float]
    against: str | None
    threshold: float
    scoring: ScoringOptions
    rows: Rows | None = None
    columns: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """What was found; ``folder`` is where it lies."""

    folder: Path
    summary: dict[str, Any]

    @property
    def main(self) -> dict[str, Any]:
        """The comparison that gates look at: of the new reward, or of the totals of a recipe."""
        return dict(self.summary["comparisons"][0])


def rescore(job: Job, out: Path, *, shown: Shown, should_stop: Callable[[], None]) -> Rescored:
    """Scores every saved completion again and writes ``out/TIME``, whole or not at all.

    Raises:
        PreflightError: there are no rollouts, a reward asks for a column that is not there, or for what
            the policy says.
        CheckpointError: the rollouts are damaged, or the folder cannot be written.
        RewardError: a reward ended the comparison, or failed on everything in 3 steps in a row.
        ComponentError: a reward cannot be built.
    """
    entries = [setup.entry for setup in job.setups]
    if any(map(needs_model, entries)):
        raise no_model(entries, place="runs rescore, of texts that were saved")
    source = job.run / "rollouts.jsonl"
    began = time.monotonic()
    steps = read_steps(source)
    first = next(steps, None)
    if first is None:
        raise PreflightError(
            "the file holds no rollout yet", place=str(source), remedy="wait for the first step"
        )
    size = source.stat().st_size
    scorer = Scorer(job.setups, **job.scoring)
    scorer.start(should_stop)
    with scorer, _new_folder(out) as (temporary, publish):
        _check_columns(job, scorer, first)
        tally = _Tally(job)
        with (temporary / "rows.jsonl").open("w", encoding="utf-8") as file:
            for saved in _chain(first, steps):
                rows = (job.rows or _kept_rows)(saved)
                scores = scorer.score(rollout_of(saved, rows), should_stop)
                tally.add(saved, scores, file)
                shown(saved.end, size)
            file.flush()
            os.fsync(file.fileno())
        summary = {**tally.data(), "seconds": time.monotonic() - began}
        with (temporary / "summary.json").open("w", encoding="ascii") as file:
            file.write(json.dumps(summary, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return Rescored(folder=publish(), summary=summary)


def _chain(first: SavedStep, others: Iterator[SavedStep]) -> Iterator[SavedStep]:
    yield first
    yield from others


def _kept_rows(saved: SavedStep) -> list[Row]:
    return [saved_columns(group) for group in saved.groups]


def _check_columns(job: Job, scorer: Scorer, first: SavedStep) -> None:
    columns = job.columns if job.columns is not None else list(saved_columns(first.groups[0]))
    asked = scorer.asked()
    told = []
    for setup in job.setups:
        missing = [name for name in setup.entry.spec.columns if name not in columns]  # type: ignore[attr-defined]
        missing += [n for n in asked[setup.name].missing(columns) if n not in missing]
        if missing:
            names = ", ".join(map(repr, missing))
            told.append(f"the reward {setup.name} of {setup.entry.origin} asks for {names}")
    if told:
        raise PreflightError(
            f"{'; '.join(told)}: the rows have {', '.join(columns) or 'no column'}, "
            "the messages and the completions",
            place=str(job.run / "rollouts.jsonl"),
            remedy="use a reward without it"
            if job.rows
            else "--dataset reads the other columns from the run's data set",
        )


class _Tally:
    """All comparisons of a job, and the rows that are written beside them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.groups = self.completions = self.other_totals = self.silent = 0
        self.steps: list[int] = []
        self.failures: dict[str, dict[str, Any]] = {}
        self.signs = SignChanges()
        self.total = Comparison(TOTAL, TOTAL, threshold=None)
        names = [setup.name for setup in job.setups]
        pairs = (
            [(name, name) for name in names if name in job.weights]
            if job.against is None
            else [(job.against, names[0])]
        )
        self.pairs = [Comparison(old, new, threshold=job.threshold) for old, new in pairs]

    def add(self, saved: SavedStep, scores: Scores, file: IO[str]) -> None:
        self.steps = [*self.steps[:1], saved.step]
        self._check(scores)
        failed = {(f.prompt_index, f.sample, f.reward) for f in scores.failures}
        for failure in scores.failures:
            seen = self.failures.setdefault(
                failure.reward,
                {"count": 0, "plugin": failure.plugin, "first": failure.message, "kinds": {}},
            )
            seen["count"] += 1
            seen["kinds"][failure.kind] = seen["kinds"].get(failure.kind, 0) + 1
        for p, group in enumerate(saved.groups):
            self._add_group(p, group, scores, failed, file)

    def _check(self, scores: Scores) -> None:
        """Ends what cannot become a comparison: each failure may cost a deadline."""
        check_stop(scores)
        tables = scores.rewards.values()
        scored = any(value is not None for table in tables for group in table for value in group)
        self.silent = 0 if scored or not scores.failures else self.silent + 1
        if self.silent == SILENT:
            first = scores.failures[0]
            raise RewardError(
                f"no completion was scored in {SILENT} steps in a row: {first.message}",
                place=place_of(first),
                remedy=first.remedy,
            )

    def _add_group(
        self,
        p: int,
        group: dict[str, Any],
        scores: Scores,
        failed: set[tuple[int, int, str]],
        file: IO[str],
    ) -> None:
        job, completions = self.job, group["completions"]
        self.groups += 1
        self.completions += len(completions)
        new = {
            name: Side(
                scores=values[p],
                failed=[(p, g, name) in failed for g in range(len(completions))],
            )
            for name, values in scores.rewards.items()
        }
        for pair in self.pairs:
            pair.add(
                _saved_side(completions, pair.old), new[pair.new], step=group["step"], group=group
            )
        old_total = [one["total"] for one in completions]
        new_total = self._totals(completions, new, scores.total[p])
        self.total.add(
            _saved_side(completions, TOTAL),
            Side(scores=new_total, failed=_weighted_failures(job, new, len(completions))),
            step=group["step"],
            group=group,
        )
        saved = None if group.get("dropped") else [one["advantage"] for one in completions]
        before, after = self.signs.add(old_total, new_total, saved)
        row = {
            "step": group["step"],
            "prompt": {"id": group["prompt"]["id"], "index": group["prompt"]["index"]},
            "completions": [
                {
                    "sample": one["sample"],
                    "rewards": {name: side.scores[g] for name, side in new.items()},
                    "old_total": old_total[g],
                    "new_total": new_total[g],
                    "old_centred": before[g],
                    "new_centred": after[g],
                }
                for g, one in enumerate(completions)
            ],
        }
        file.write(json.dumps(row, allow_nan=False) + "\n")

    def _totals(
        self, completions: Sequence[Row], new: Mapping[str, Side], scored: Sequence[float | None]
    ) -> list[float | None]:
        """The recipe's totals, or the saved ones with one reward in another's place.

        The terms stand in the order of the run's recipe: in another one the sum would be rounded
        otherwise, and equal scores would look like changed ones.
        """
        job = self.job
        if job.against is None:
            return list(scored)
        setup = job.setups[0]
        side = new[setup.name]
        totals = []
        for one, score, failed in zip(completions, side.scores, side.failed, strict=True):
            term = _Term(setup.weight, score, failed=failed)
            if job.against == TOTAL:
                totals.append(_total([term]))
                continue
            saved = {name: _saved_term(one, name, weight) for name, weight in job.weights.items()}
            self.other_totals += not _equal(_total(saved.values()), one["total"])
            totals.append(_total({**saved, job.against: term}.values()))
        return totals

    def data(self) -> dict[str, Any]:
        job = self.job
        ordered = [self.total, *self.pairs] if job.against is None else [*self.pairs, self.total]
        return {
            "format": 1,
            "run": str(job.run),
            "steps": self.steps,
            "groups": self.groups,
            "completions": self.completions,
            "rewards": [
                {
                    "name": setup.name,
                    "id": setup.entry.id,
                    "plugin": setup.entry.origin,
                    "settings": dict(setup.settings),
                    "weight": setup.weight,
                }
                for setup in job.setups
            ],
            "run_weights": dict(job.weights),
            "against": job.against,
            "formulas": {"kendall": KENDALL, "spearman": SPEARMAN},
            "comparisons": [
                {**each.data(), "disagreements": [_told(item) for item in each.disagreements()]}
                for each in ordered
            ],
            "advantages": self.signs.data(),
            "failures": self.failures,
            "totals_that_are_no_sum": self.other_totals,
        }


def _saved_side(completions: Sequence[Row], name: str) -> Side:
    if name == TOTAL:
        scores = [one["total"] for one in completions]
        failed = [one["total"] is None and bool(one.get("errors")) for one in completions]
    else:
        scores = [one["rewards"].get(name) for one in completions]
        failed = [name in one.get("errors", {}) for one in completions]
    return Side(scores=scores, failed=failed)


def _weighted_failures(job: Job, new: Mapping[str, Side], count: int) -> list[bool]:
    weighted = [new[setup.name] for setup in job.setups if setup.weight]
    return [any(side.failed[g] for side in weighted) for g in range(count)]


@dataclass(frozen=True)
class _Term:
    """One reward's part in a total."""

    weight: float
    score: float | None
    failed: bool


def _saved_term(one: Row, name: str, weight: float) -> _Term:
    return _Term(weight, one["rewards"].get(name), failed=name in one.get("errors", {}))


def _total(terms: Iterable[_Term]) -> float | None:
    """As the scorer does it: abstentions are left out, a failure with a weight leaves no total."""
    total: float | None = None
    for term in terms:
        if term.weight and term.failed:
            return None
        if term.weight and term.score is not None:
            total = (total or 0.0) + term.weight * term.score
    return total


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def _told(item: Any) -> dict[str, Any]:
    prompt = item.group["prompt"]
    return {
        "step": item.step,
        "index": prompt["index"],
        "sample": item.sample,
        "old": item.old,
        "new": item.new,
        "flip": item.flip,
        "answer": prompt.get("answer"),
        "question": prompt["messages"][-1]["content"] if prompt["messages"] else "",
        "completion": item.group["completions"][item.sample]["text"],
    }


@contextmanager
def _new_folder(out: Path) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """A folder to fill, and what gives it its name. Without that it is removed in the end."""
    temporary = out / f".tmp-{os.getpid()}"

    def publish() -> Path:
        name = time.strftime("%Y%m%d-%H%M%S")
        for number in range(1, 1000):
            folder = out / (name if number == 1 else f"{name}-{number}")
            if not folder.exists():
                temporary.rename(folder)
                return folder
        raise FileExistsError(name)

    try:
        _remove_left_over(out)
        temporary.mkdir(parents=True)
        yield temporary, publish
    except OSError as error:
        raise CheckpointError(
            f"cannot be written: {error.strerror or error}",
            place=str(error.filename or out),
            remedy="--out FOLDER that you may write to, on a disk with space",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_left_over(out: Path) -> None:
    """What a process that was killed left half written."""
    for path in out.glob(".tmp-*"):
        owner = path.name.removeprefix(".tmp-")
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)
