"""How often a planted fault is found, and how often a sound run is accused. New seeds, never tuned on."""

from __future__ import annotations

from collections import Counter

import pytest

from grpokit.diagnose.diagnosis import Diagnosis, Finding
from grpokit.diagnose.findings import FINDINGS
from grpokit.diagnose.rows import own_row
from simulated_faults import FAULTS, faulty_run
from simulated_runs import Run, clean_run

TUNED_BELOW = 100_000
"""Seeds of the trials by which thresholds were chosen."""
CLEAN, FAULTY = 40, 20


def look(run: Run) -> tuple[Diagnosis, list[Finding]]:
    diagnosis = Diagnosis()
    return diagnosis, [said for row in run.rows() for said in diagnosis.add(own_row(row))]


def test_a_sound_run_is_hardly_ever_accused() -> None:
    steps = 0
    alarms: Counter[str] = Counter()
    for seed in range(TUNED_BELOW, TUNED_BELOW + CLEAN):
        run = clean_run(seed)
        steps += run.steps
        alarms.update(each.name for each in look(run)[1] if each.severity != "note")
    assert steps > 200 * CLEAN
    assert sum(alarms.values()) <= steps / 1000, alarms


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_by_its_name(name: str) -> None:
    missed = []
    for seed in range(TUNED_BELOW, TUNED_BELOW + FAULTY):
        run = faulty_run(name, seed)
        found = {each.name for each in look(run)[0].findings()}
        if name not in found:
            missed.append((seed, sorted(found)))
    assert len(missed) <= 0.05 * FAULTY, missed


@pytest.mark.parametrize("name", ["kl-blow-up", "sampler-mismatch", "truncation"])
def test_a_fault_is_not_seen_before_it_is_there(name: str) -> None:
    for seed in range(TUNED_BELOW, TUNED_BELOW + 5):
        run = faulty_run(name, seed)
        found = next(each for each in look(run)[0].findings() if each.name == name)
        assert run.onset <= found.first <= run.onset + 30
        assert found.steps <= run.steps - found.first + 1


def test_every_fault_has_a_finding() -> None:
    assert set(FAULTS) <= set(FINDINGS)
