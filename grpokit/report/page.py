"""One HTML file that holds a run, or several over one another, and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO

from grpokit import __version__
from grpokit.diagnose.diagnosis import Finding, look_back
from grpokit.diagnose.rows import own_row
from grpokit.errors import CheckpointError
from grpokit.report.browser import browser
from grpokit.report.charts import draw, figures
from grpokit.report.markup import Html, join, tag
from grpokit.report.pictures import constants, further_charts, main_charts, reward_chart
from grpokit.report.reading import RunData, labelled, read_for_page
from grpokit.report.results import results
from grpokit.report.rollouts import Rollouts, pack
from grpokit.report.sections import differences, facts, findings, missing, provenance, section

__all__ = ["COMPLETIONS", "Written", "write_report"]

COMPLETIONS = 200_000
"""Completions of a run that the page holds unless it is told otherwise."""

HOW = (
    "Bold: the mean of 5 steps. Faint: each step. Areas are means of 5 steps. A gap: the step has no "
    "such number, as a step without an update has no gradient."
)

Shown = Callable[[str, int, int], None]
"""(run, bytes of its rollouts read, of how many)."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What came of it. ``missing`` is (run, sentence)."""

    path: Path
    size: int
    missing: tuple[tuple[str, str], ...]


def write_report(
    paths: Sequence[Path],
    out: Path,
    *,
    completions: int = COMPLETIONS,
    shown: Shown = lambda *_: None,
) -> Written:
    """Reads the runs and writes the page, whole or not at all.

    Raises:
        CheckpointError: the page cannot be written.
    """
    if out.is_dir():
        raise CheckpointError("this is a folder", place=str(out), remedy="name a file with --out")
    temporary = out.with_name(f".tmp-{out.name}-{os.getpid()}")
    try:
        with tempfile.TemporaryFile(dir=out.parent) as spool:
            runs = labelled([read_for_page(path) for path in paths])
            found = [
                pack(run, place, spool, limit=completions, shown=_named(shown, run))
                for place, run in enumerate(runs)
            ]
            spool.seek(0)
            with temporary.open("wb") as file:
                _write(file, runs, found, spool)
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(out)
        size = out.stat().st_size
    except OSError as error:
        raise CheckpointError(
            f"the report could not be written: {error.strerror or error}",
            place=str(out),
            remedy="name another file with --out",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    told = tuple((run.name, text) for run in runs for text in run.missing)
    return Written(path=out, size=size, missing=told)


def _named(shown: Shown, run: RunData) -> Callable[[int, int], None]:
    return lambda done, size: shown(run.name, done, size)


def _write(
    file: IO[bytes], runs: Sequence[RunData], found: Sequence[Rollouts], spool: IO[bytes]
) -> None:
    """Head and sections, then the rollouts, then the script that reads them."""
    style, script = _asset("report.css"), _asset("report.js")
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"grpokit {__version__}"),
        tag("title", f"{title} · grpokit"),
        Html(f"<style>{style}</style>"),
    ]
    start = f'<!doctype html>\n<html lang="en"><head>{join(head)}</head>\n<body>\n'
    file.write(start.encode())
    for part in _sections(runs, found, title):
        file.write(part.encode() + b"\n")
    shutil.copyfileobj(spool, file, 1 << 20)
    file.write(f"<script>{script}</script>\n</body></html>\n".encode())


def _policy(style: str, script: str) -> str:
    hashes = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    )
    style_hash, script_hash = hashes
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return (resources.files("grpokit.report") / "assets" / name).read_text(encoding="utf-8")


def _sections(runs: Sequence[RunData], found: Sequence[Rollouts], title: str) -> list[str]:
    recipes = " · ".join(dict.fromkeys(run.listed.recipe for run in runs))
    summaries = {str(run.listed.data.get("summary") or "") for run in runs}
    summary = summaries.pop() if len(summaries) == 1 else ""
    header = tag(
        "header",
        tag("p", f"grpokit · {recipes}", class_="kind"),
        tag("h1", title),
        tag("p", summary) if summary else "",
    )
    curves = [draw(reward_chart(runs)) or "", figures(main_charts(runs, found))]
    if not any(curves):
        curves = [tag("p", "No numbers of a step are there yet.")]
    same = constants(runs)
    note = tag("p", f"The same in every step: {', '.join(same)}.", class_="note") if same else ""
    further = figures(further_charts(runs))
    folded = (
        tag("details", tag("summary", "Further numbers"), tag("div", further, class_="cards"))
        if further
        else ""
    )
    told = [_findings(run, each) for run, each in zip(runs, found, strict=True)]
    parts = [
        header,
        facts(runs, told),
        missing(runs),
        section(
            "curves",
            "Curves",
            tag("p", HOW, class_="note"),
            tag("div", *curves, class_="cards"),
            note,
            folded,
        ),
        results(runs),
        findings(runs, told),
        browser(runs, found),
        differences(runs),
        provenance(runs),
        tag("footer", f"Written by grpokit {__version__}. This page loads nothing from anywhere."),
    ]
    return ["<main>", *(part for part in parts if part), "</main>"]


def _findings(run: RunData, found: Rollouts) -> list[Finding] | None:
    if not run.rows:
        return None
    rows = [*run.rows, *(own_row(each) for each in run.evals)]
    rows.sort(key=lambda row: (row.step, row.is_evaluation))
    return look_back(rows, run.goal, found.measured)
