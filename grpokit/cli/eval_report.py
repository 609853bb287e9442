"""What becomes of an evaluation: checked against stored ones, compared, written, shown, drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.cli import render
from grpokit.cli.eval_ladder import show_costs, show_curve, show_ladder
from grpokit.cli.eval_measures import show_details, show_oddities
from grpokit.cli.eval_show import show_evaluation

if TYPE_CHECKING:
    from grpokit.cli.eval_target import Subject
    from grpokit.evaluate.ladder import Ladder, Point
    from grpokit.evaluate.overlap import Overlap
    from grpokit.evaluate.paired import Comparison
    from grpokit.evaluate.prices import Cost, Price
    from grpokit.evaluate.records import Evaluation
    from grpokit.evaluate.run import Exam
    from grpokit.spec.recipe import Recipe

__all__ = ["Notes", "Report", "short", "write_recipe"]

REMEDY = "evaluate both in the same way; --allow-mismatch compares them all the same, and says so"


@dataclass
class Notes:
    """What is found out on the way.

    Attributes:
        strict: refuse to compare with a stored evaluation that measured something else.
        usage: what the answers of a paid model took, by label.
        mismatch: what differs that should not, by label.
    """

    strict: bool = True
    usage: dict[str, dict[str, int]] = field(default_factory=dict)
    mismatch: dict[str, list[str]] = field(default_factory=dict)
    told: Mapping[str, Any] | None = None

    def compare_stored(self, subjects: Sequence[Subject]) -> None:
        """Every stored evaluation against the first of them, before anything is asked.

        Raises:
            PreflightError: more differs than the model.
        """
        for subject in subjects:
            if subject.stored is None:
                continue
            if self.told is None:
                self.told = subject.stored.told
            self._look(subject.label, subject.stored.told)

    def compare(self, label: str, exam: Exam, identity: Mapping[str, Any]) -> None:
        """A model that is about to be asked against the first stored evaluation.

        Raises:
            PreflightError: more differs than the model.
        """
        if self.told is None:
            return
        mark = {"model": dict(identity), **exam.fingerprint}
        told = {"label": label, "decides": exam.decides, "threshold": exam.threshold}
        # As it will stand in a file: no tuples, no paths.
        self._look(label, json.loads(json.dumps({**told, "fingerprint": mark}, default=str)))

    def _look(self, label: str, told: Mapping[str, Any]) -> None:
        from grpokit.evaluate.fingerprints import check_same_exam, differences

        assert self.told is not None
        if self.strict:
            check_same_exam(self.told, told, place=label, remedy=REMEDY)
        elif lines := differences(self.told, told).lines():
            self.mismatch[label] = list(lines)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The evaluations of one command, and what was asked for beside them."""

    subjects: Sequence[Subject]
    evaluations: Sequence[Evaluation]
    notes: Notes
    prices: Mapping[str, Price] | None
    plot: bool
    place: Path
    overlap: Overlap | None = None
    details: bool = False

    def tell(self, *, as_json: bool) -> Comparison | None:
        """Writes what was found and shows it; returns how the last model compares with the first."""
        from grpokit.evaluate.ladder import climb
        from grpokit.evaluate.records import compare_evaluations, summary, write_evaluation

        found = self.evaluations
        comparison = compare_evaluations(*found) if len(found) == 2 else None
        ladder = climb(found) if len(found) > 2 else None
        last = ladder.comparisons[-1] if ladder else comparison
        points, costs = self._points(), self._costs()
        more = self._more(ladder, points, costs)
        write_evaluation(self.place, found, comparison, more)
        pictures = self._draw(points, costs) if self.plot else []
        if as_json:
            render.print_json({**summary(found, comparison, more), "folder": str(self.place)})
            return last
        self._show(comparison, ladder, points, costs)
        render.say(f"\nwritten to {short(self.place)}")
        if self.plot:
            render.say(f"drawn: {', '.join(pictures)}" if pictures else NOTHING_TO_DRAW)
        return last

    def _show(
        self,
        comparison: Comparison | None,
        ladder: Ladder | None,
        points: Sequence[Point],
        costs: Sequence[Cost],
    ) -> None:
        if ladder is None:
            show_evaluation(self.evaluations, comparison, self.overlap, details=self.details)
        else:
            show_ladder(ladder)
            if self.details:
                show_details(self.evaluations)
            show_oddities(self.evaluations, None, self.overlap)
        show_curve(points)
        if costs:
            show_costs(self.evaluations, costs)
        for label, usage in self.notes.usage.items():
            counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in usage.items())
            render.say(f"\n{label}: {counts}")
        for label, lines in self.notes.mismatch.items():
            render.say(
                f"\n{label} was not evaluated like the others, so this compares more", "yellow"
            )
            for line in lines:
                render.say(f"  {line}", "yellow")

    def _more(
        self, ladder: Ladder | None, points: Sequence[Point], costs: Sequence[Cost]
    ) -> dict[str, Any]:
        """Further keys of ``summary.json``."""
        more: dict[str, Any] = dict(ladder.as_dict()) if ladder else {}
        if points:
            more["curve"] = [point.as_dict() for point in points]
        if costs:
            from grpokit.cli.eval_ladder import on_frontier

            best = on_frontier(self.evaluations, costs)
            more["costs"] = [
                {"label": each.label, **cost.as_dict(), "frontier": on}
                for each, cost, on in zip(self.evaluations, costs, best, strict=True)
            ]
        if self.overlap is not None:
            from grpokit.evaluate.described import clean_accuracies

            clean = clean_accuracies(self.evaluations, self.overlap)
            more["overlap"] = {**self.overlap.as_dict(), "clean": clean}
        if self.notes.usage:
            more["usage"] = self.notes.usage
        if self.notes.mismatch:
            more["mismatch"] = self.notes.mismatch
        return more

    def _points(self) -> list[Point]:
        """Checkpoints of runs that have several of them here."""
        from grpokit.evaluate.ladder import Point

        found = [
            Point(
                run=subject.run.name,
                step=subject.step,
                label=each.label,
                accuracy=each.accuracy,
                interval=each.interval,
            )
            for subject, each in zip(self.subjects, self.evaluations, strict=True)
            if subject.run is not None and subject.step is not None
        ]
        runs = [point.run for point in found]
        chosen = [point for point in found if runs.count(point.run) > 1]
        return sorted(chosen, key=lambda point: (runs.index(point.run), point.step))

    def _costs(self) -> list[Cost]:
        from grpokit.evaluate.prices import cost_of

        if self.prices is None:
            return []
        return [cost_of(each, self.prices) for each in self.evaluations]

    def _draw(self, points: Sequence[Point], costs: Sequence[Cost]) -> list[str]:
        from grpokit.report.evaluated import Spot, draw_costs, draw_curve

        files: list[Path] = []
        if points:
            files += draw_curve(points, self.place / "curve")
        spots = [
            Spot(label=each.label, cost=cost.each, accuracy=each.accuracy, interval=each.interval)
            for each, cost in zip(self.evaluations, costs, strict=bool(costs))
            if cost.each
        ]
        if spots:
            files += draw_costs(spots, self.place / "costs")
        return [path.name for path in files]


NOTHING_TO_DRAW = "nothing to draw: a picture needs several checkpoints of a run, or --prices"


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """The resolved recipe beside the answers: with it they can be marked again, or asked for again."""
    from grpokit.compose.write import to_yaml
    from grpokit.engine.checkpoint import write_atomic

    data = recipe.model_dump(mode="json", by_alias=True)
    write_atomic(folder / "recipe.yaml", f"# resolved recipe of this evaluation\n{to_yaml(data)}")


def short(path: Path) -> Path:
    """Relative to the current folder where it lies below."""
    whole, here = path.absolute(), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else path
