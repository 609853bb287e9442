"""How often a planted fault is found, and how often a sound run is accused. Seeds never tuned on.

``python docs/calibrate.py`` is the same with hundreds of runs; its tables are in docs/diagnoses.md.
"""

from __future__ import annotations

from collections import Counter

import pytest

from grpokit.diagnose.diagnosis import Diagnosis, Finding
from grpokit.diagnose.findings import FINDINGS
from grpokit.diagnose.rows import own_row
from simulated_faults import FAULTS, faulty_run
from simulated_regimes import REGIMES, sound_run
from simulated_runs import Run

TUNED_BELOW = 100_000
"""Seeds of the trials by which thresholds were chosen."""
CLEAN, FAULTY = 2, 6
TRUE = {"learns nothing": {"no-learning"}}
"""Findings that are true of a regime."""


def look(run: Run) -> tuple[Diagnosis, list[Finding]]:
    diagnosis = Diagnosis()
    return diagnosis, [said for row in run.rows() for said in diagnosis.add(own_row(row))]


def test_a_sound_run_is_hardly_ever_accused() -> None:
    steps = 0
    alarms: Counter[str] = Counter()
    for regime in REGIMES:
        for seed in range(TUNED_BELOW, TUNED_BELOW + CLEAN):
            run = sound_run(regime, seed)
            steps += run.steps
            said = (each for each in look(run)[1] if each.severity != "note")
            alarms.update(each.name for each in said if each.name not in TRUE.get(regime, ()))
    assert steps > 7_000
    assert sum(alarms.values()) <= steps / 1000, alarms


def test_planted_faults_are_found_by_their_names() -> None:
    """19 of 20 of all, and no kind of fault is missed more than once."""
    missed = {
        name: [
            (seed, sorted(found))
            for seed in range(TUNED_BELOW, TUNED_BELOW + FAULTY)
            if name not in (found := {f.name for f in look(faulty_run(name, seed))[0].findings()})
        ]
        for name in FAULTS
    }
    count = sum(map(len, missed.values()))
    assert count <= 0.05 * FAULTY * len(FAULTS), missed
    assert max(map(len, missed.values())) <= 1, missed


@pytest.mark.parametrize(
    "name", ["kl-blow-up", "sampler-mismatch", "truncation", "slow-generation"]
)
def test_a_fault_is_not_seen_before_it_is_there(name: str) -> None:
    for seed in range(TUNED_BELOW, TUNED_BELOW + 5):
        run = faulty_run(name, seed)
        found = next(each for each in look(run)[0].findings() if each.name == name)
        assert run.onset <= found.first <= run.onset + 30
        assert found.steps <= run.steps - found.first + 1


def test_every_finding_is_planted() -> None:
    assert set(FAULTS) == set(FINDINGS)
