"""Measures how often `grpokit doctor RUN` is wrong, on simulated runs, and writes the tables into docs/diagnoses.md.

    python docs/calibrate.py [--faults 60] [--steps 100000] [--seed 3000000] [--write]

Sound runs of every regime until there are as many steps as asked for, and as many runs of each planted
fault. All seeds are above those by which thresholds were chosen. The simulator is that of the tests.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/diagnoses.md"
sys.path.insert(0, str(ROOT / "tests/helpers"))

from grpokit.diagnose.diagnosis import Diagnosis, Finding  # noqa: E402
from grpokit.diagnose.rows import own_row  # noqa: E402
from simulated_faults import FAULTS, faulty_run  # noqa: E402
from simulated_regimes import REGIMES, sound_run  # noqa: E402
from simulated_runs import Run  # noqa: E402

TRUE = {"learns nothing": {"no-learning"}}
"""Findings that are no false alarm in a regime."""


@dataclass
class Regime:
    """What was said of the sound runs of a regime."""

    runs: int = 0
    steps: int = 0
    warned: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)
    accused: int = 0


@dataclass
class Fault:
    """How many of the runs with a fault were called by its name, and how many steps that took."""

    runs: int = 0
    found: int = 0
    delays: list[int] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)


def look(run: Run) -> Iterable[tuple[int, Finding]]:
    """What is said of a run, and at which step."""
    diagnosis = Diagnosis()
    for row in run.rows():
        for said in diagnosis.add(own_row(row)):
            yield row["step"], said


def sound(regime: str, seeds: Iterable[int], steps: int) -> Regime:
    """Sound runs of a regime until there are ``steps``."""
    found = Regime()
    for seed in seeds:
        if found.steps >= steps:
            break
        run = sound_run(regime, seed)
        found.runs += 1
        found.steps += run.steps
        said = [each for _, each in look(run) if each.severity != "note"]
        said = [each for each in said if each.name not in TRUE.get(regime, ())]
        found.warned.update(each.name for each in said)
        found.stopped.update(each.name for each in said if each.severity == "stop")
        found.accused += bool(said)
    return found


def planted(name: str, seeds: Iterable[int]) -> Fault:
    """Runs with a fault."""
    found = Fault()
    for seed in seeds:
        run = faulty_run(name, seed)
        found.runs += 1
        when = [step for step, each in look(run) if each.name == name]
        if when:
            found.found += 1
            found.delays.append(max(when[0] - run.onset, 0))
        else:
            found.missed.append(seed)
    return found


def tables(regimes: dict[str, Regime], faults: dict[str, Fault]) -> str:
    """Both tables as Markdown."""
    lines = ["| sound runs | runs | steps | warnings | of them reasons to stop | runs accused |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, each in [*regimes.items(), ("**all**", whole(regimes.values()))]:
        said = ", ".join(f"{finding} {n}" for finding, n in sorted(each.warned.items()))
        told = f" ({said})" if said and not name.startswith("**") else ""
        count, grave = each.warned.total(), each.stopped.total()
        lines.append(
            f"| {name} | {each.runs} | {each.steps} | {count}{told} | {grave} | {each.accused} |"
        )
    lines += ["", "| planted fault | runs | found by name | median steps until it is said |"]
    lines += ["|---|---|---|---|"]
    for name, fault in faults.items():
        delay = sorted(fault.delays)[len(fault.delays) // 2] if fault.delays else "-"
        lines.append(f"| {name} | {fault.runs} | {fault.found} | {delay} |")
    runs = sum(fault.runs for fault in faults.values())
    found = sum(fault.found for fault in faults.values())
    lines.append(f"| **all** | {runs} | {found} | |")
    return "\n".join(lines) + "\n"


def whole(regimes: Iterable[Regime]) -> Regime:
    """All regimes together."""
    total = Regime()
    for each in regimes:
        total.runs, total.steps = total.runs + each.runs, total.steps + each.steps
        total.accused += each.accused
        total.warned += each.warned
        total.stopped += each.stopped
    return total


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=60, help="runs of each fault")
    parser.add_argument("--steps", type=int, default=100_000, help="sound steps")
    parser.add_argument("--seed", type=int, default=3_000_000, help="first seed")
    parser.add_argument("--only", help="one fault or regime")
    parser.add_argument("--write", action="store_true", help="into docs/diagnoses.md")
    asked = parser.parse_args()
    share = -(-asked.steps // len(REGIMES))
    regimes, faults = {}, {}
    for place, regime in enumerate(REGIMES):
        if asked.only in (None, regime):
            first = asked.seed + 100_000 * place
            regimes[regime] = sound(regime, range(first, first + 100_000), share)
    for name in FAULTS:
        if asked.only in (None, name):
            faults[name] = planted(name, range(asked.seed, asked.seed + asked.faults))
            if faults[name].missed:
                sys.stderr.write(f"{name} missed at seeds {faults[name].missed}\n")
    text = tables(regimes, faults)
    sys.stdout.write(text)
    if asked.write:
        head, _, rest = PAGE.read_text("utf-8").partition("<!-- calibration -->\n")
        tail = re.split(r"(?=<!-- end of calibration -->)", rest)[1]
        PAGE.write_text(f"{head}<!-- calibration -->\n\n{text}\n{tail}", "utf-8")


if __name__ == "__main__":
    main()
