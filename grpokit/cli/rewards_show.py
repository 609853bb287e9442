"""How a checked reward looks in a terminal. Completions are hostile: everything is escaped."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from grpokit.cli import render
from grpokit.cli.page import facts, head, wrapped

if TYPE_CHECKING:
    from grpokit.probes.report import Finding, Report
    from grpokit.registry.catalog import Entry

__all__ = ["bar", "report_data", "short", "show_findings", "show_report", "show_reward"]

BAR = 20
SHOWN = 160
"""Characters of a completion that are shown."""
STYLES = {"critical": "bold red", "warning": "yellow", "info": "dim"}


def show_reward(entry: Entry, bounds: str) -> None:
    """One reward with what it asks for."""
    from grpokit.cli.plugins import component_data, show_settings
    from grpokit.errors import GrpokitError
    from grpokit.registry.resolve import resolve
    from grpokit.scoring.signature import ask
    from grpokit.spec.components import RewardSpec

    spec = entry.spec
    render.say(f"reward {entry.id}", "bold")
    wrapped(spec.summary, indent="  ")
    data = component_data(entry)
    lines: list[tuple[str, object]] = [
        ("plugin", f"{entry.plugin.name} ({entry.plugin.distribution} {entry.plugin.version})"),
        ("target", spec.target),
        ("source hash", data["source_hash"]),
        ("range", bounds),
    ]
    if isinstance(spec, RewardSpec):
        lines += [("columns", ", ".join(spec.columns))] if spec.columns else []
        lines += [("pays for", ", ".join(spec.pays))] if spec.pays else []
        lines += [("needs", ", ".join(sorted(spec.needs)))] if spec.needs else []
        lines += [("caution", spec.caution)] if spec.caution else []
        lines += [] if spec.deterministic else [("again", "another score is possible")]
    if not spec.config:
        try:
            asked = ask(resolve(spec.target, entry))
        except GrpokitError as error:
            lines.append(("problem", str(error)))
        else:
            names = [*asked.required, *(f"{name} (optional)" for name in asked.optional)]
            lines += [("form", asked.form), ("asks for", ", ".join(names))]
    facts(lines)
    show_settings(data, "with")
    render.say()
    render.say(f"what can fool it: grpokit rewards check {entry.id}", "dim")


def report_data(report: Report, target: str) -> dict[str, Any]:
    """The check for machines; docs/howto-check-rewards.md says what is in it."""
    verdict = "critical" if report.criticals else "warning" if report.warnings else "clean"
    return {
        "format": 1,
        "target": target,
        "verdict": verdict,
        **asdict(report),
        "seconds_per_step": report.seconds_per_step,
    }


def show_report(report: Report, target: str) -> None:
    """The whole check, section by section."""
    wrapped(f"rewards check {target}")
    _rewards(report)
    _board(report)
    _numbers(report)
    show_findings(report.findings, alone=len(report.rewards) == 1)
    _end(report)


def _rewards(report: Report) -> None:
    head("rewards")
    rows = [
        (
            each.name,
            f"{each.weight:g}",
            "model" if each.needs_model else "answer" if each.reads_answer else "form",
            "-" if each.lowest is None else f"{each.lowest:g} to {each.highest:g}",
            _rate(each.false_accepts, each.wrong_tried),
            _rate(each.false_rejects, each.right_tried),
        )
        for each in report.rewards
    ]
    render.table(["reward", ">weight", "judges", "seen", ">paid wrong", ">refused right"], rows)


def _board(report: Report) -> None:
    if not report.strategies:
        return
    head(f"what each strategy earns (the answer written as: {report.way})")
    names = max(len(each.name) for each in report.strategies)
    for each in report.strategies:
        share = "      -" if each.share is None else f"{round(each.share, 2) + 0.0:7.0%}"
        score = "-" if each.score is None else f"{each.score:.3g}"
        line = f"  {each.name:<{names}} {bar(each.share)} {share} {score:>8}"
        lazy = each.share is not None and each.share > 0.05 and each.name[:9] != "the right"
        render.say(line.rstrip(), "yellow" if lazy else "")


def bar(share: float | None) -> str:
    """The share as a bar of fixed width; nothing for less than a wrong answer earns."""
    filled = round(max(0.0, min(1.0, share or 0.0)) * BAR)
    return "#" * filled + "." * (BAR - filled)


def _numbers(report: Report) -> None:
    head("in numbers")
    lines: list[tuple[str, object]] = [
        (
            "tried",
            (
                f"{report.probes} probes on {report.rows} rows, {report.completions:,} completions, "
                f"{report.seconds:.1f} s"
            ),
        ),
        ("paid wrong", _rate(report.false_accepts, report.wrong_tried, words=True)),
        ("refused right", _rate(report.false_rejects, report.right_tried, words=True)),
    ]
    if report.format_share is not None:
        lines.append(("form alone", f"{report.format_share:.0%} of what a right answer earns"))
    if report.floor is not None:
        told = f"right on {report.floor:.0%} of the rows: what a constant answer earns"
        lines.append(("commonest", told))
    if report.length_right is not None or report.length_wrong is not None:
        told = ", ".join(
            f"a {word} answer {change:+.0%}"
            for word, change in (("right", report.length_right), ("wrong", report.length_wrong))
            if change is not None
        )
        lines.append(("padding", f"changes {told}"))
    if report.seconds_per_step is not None:
        told = f"about {report.seconds_per_step:.2g} s for {report.step_completions} completions"
        lines.append(("a step", told))
    facts(lines)
    for note in report.notes:
        wrapped(f"note: {note}", indent="  ", style="yellow")
    if report.missed:
        wrapped(f"not tried: {', '.join(report.missed)}", indent="  ", style="yellow")


def _rate(count: int, tried: int, *, words: bool = False) -> str:
    if not tried:
        return "-"
    text = f"{count} of {tried}"
    return f"{text} ({count / tried:.1%})" if words else text


def show_findings(findings: tuple[Finding, ...], *, alone: bool = False) -> None:
    """Each finding with its completion and one line on what to do; ``alone``: of a single reward."""
    for severity, title in (("critical", "critical"), ("warning", "warnings")):
        found = [each for each in findings if each.severity == severity]
        if found:
            head(title)
        for each in found:
            about = "" if alone else f" ({each.subject})"
            wrapped(f"{each.id}{about}: {each.fact}", indent="  ", style=STYLES[severity])
            if each.completion:
                row = "" if each.row is None else f"row {each.row}, "
                wrapped(f"{row}completion: {short(each.completion)}", indent="     ")
            if len(each.scores) > 1:
                parts = ", ".join(f"{k} {_score(value)}" for k, value in each.scores.items())
                wrapped(f"scores: {parts}", indent="     ")
            wrapped(f"-> {each.fix}", indent="     ")
    hints: dict[str, list[Finding]] = {}
    for each in findings:
        if each.severity == "info":
            hints.setdefault(each.id, []).append(each)
    if hints:
        head("hints")
    for name, found in hints.items():
        about = "" if alone else f" ({', '.join(each.subject for each in found)})"
        wrapped(f"{name}{about}: {found[0].fact}", indent="  ", style="dim")


def _end(report: Report) -> None:
    render.say()
    criticals, warnings = len(report.criticals), len(report.warnings)
    if criticals:
        render.say(f"{criticals} critical, {_count(warnings, 'warning')}", "bold red")
    elif warnings:
        render.say(f"nothing critical, {_count(warnings, 'warning')}", "yellow")
    elif any(each.reads_answer for each in report.rewards):
        render.say("clean", "bold green")
    else:
        render.say("clean, as far as promises go: nothing here reads the answer", "bold green")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def short(value: object) -> str:
    """Safe, on one line, cut in the middle of nowhere and said so."""
    text = render.safe(value, limit=SHOWN, one_line=True)
    return text if text.strip() else repr(text)
