"""Planted flaws are found by their probe, and rewards without one are clean."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from grpokit.errors import PreflightError
from grpokit.probes import check
from grpokit.probes.library import Way
from grpokit.probes.measure import TOTAL
from grpokit.probes.rows import sample_rows
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import RewardSetup, Scorer
from naughty import naughty

ROWS = sample_rows(3)


def lazy(name, weight=1.0, **spec):
    return naughty(name, module="lazy_rewards", weight=weight, **spec)


def ids(report, severity=None, subject=None):
    return {
        found.id
        for found in report.findings
        if severity in (None, found.severity) and subject in (None, found.subject)
    }


def test_good_rewards_are_clean():
    report = check([lazy("whole")], ROWS)
    assert ids(report) <= {"mention.self_correct_ok"}
    assert (report.right, report.wrong, report.silent, report.way) == (1.0, 0.0, 0.0, "boxed")
    assert (report.false_accepts, report.false_rejects) == (0, 0)
    assert report.wrong_tried > 100
    assert report.right_tried > 10
    assert report.strategies[0].name == "the right answer"
    assert report.strategies[0].share == 1.0
    assert max(each.share for each in report.strategies[2:]) <= 0
    assert report.rewards[0].latency < 0.05
    assert report.missed == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gold_in_completion", {"spray.or", "spray.window", "mention.negated", "mention.rejected"}),
        ("completion_in_gold", {"mention.substring", "empty.blank", "empty.wrapper"}),
        ("constant", {"base.margin"}),
        ("wrong_sign", {"base.margin"}),
        ("counts_tags", {"format.tag_spam", "dos.open_tags"}),
        ("longer", {"length.pad_wrong", "length.repetition"}),
        ("first_box", {"mention.wrapped_in_think"}),
    ],
)
def test_what_pays_for_wrong_answers_is_critical(name, expected):
    report = check([lazy(name, range=None)], ROWS, way=_boxed())
    assert expected <= ids(report, "critical"), ids(report)
    worst = next(found for found in report.findings if found.id in expected)
    assert worst.fix
    assert worst.subject == TOTAL


def _boxed():
    return Way(name="boxed", before="It is ", open="\\boxed{", close="}", after=".")


def test_promises_that_are_broken():
    flaws = {
        "dice": {"contract.determinism"},
        "remembers": {"contract.determinism"},
        "by_place": {"contract.batch_independence"},
        "encodes": {"contract.raises"},
        "nan_for_nothing": {"contract.finite"},
        "alarms": {"contract.main_thread", "contract.threads"},
        "writes": {"contract.no_fs_write"},
        "connects": {"contract.no_network"},
        "mutates": {"contract.no_input_mutation"},
        "pays_for_missing": {"contract.gold_none"},
        "wide": set(),
        "exits": {"contract.crash"},
        "says_text": {"contract.type"},
        "good": set(),
    }
    report = check([lazy(name) for name in flaws], ROWS[:2], way=_boxed())
    promises = {
        name: {i for i in ids(report, subject=name) if i[:9] == "contract."} for name in flaws
    }
    chance = {"contract.latency_p99", "contract.range"}  # of the machine, and of the dice
    promises = {name: found - chance for name, found in promises.items()}
    assert "contract.range" in ids(report, "warning", "wide")
    assert promises == flaws
    Path("/var/tmp/grpokit-lazy-reward.txt").unlink()  # what `writes` wrote
    raised = next(f for f in report.findings if f.id == "contract.raises")
    assert "\ud800" in raised.completion
    assert raised.severity == "critical"


def test_a_reward_that_hangs_is_stopped_and_named():
    began = time.monotonic()
    report = check([lazy("evaluates")], ROWS[:1], seconds=9.0, way=_boxed())
    assert time.monotonic() - began < 10.5
    assert "dos.power_tower" in ids(report, "critical")
    assert "dos.mathverify65" in report.missed


def test_time_that_is_over_is_said():
    report = check([lazy("good")], ROWS, seconds=0.0)
    assert report.missed
    assert any("ended" in note for note in report.notes)


def test_a_flaw_of_a_part_counts_less_where_the_sum_is_in_order():
    report = check([lazy("good", 1.0), lazy("counts_tags", 0.0002, range=None)], ROWS, way=_boxed())
    assert ids(report, "critical") == set()
    assert "format.tag_spam" in ids(report, "warning", "counts_tags")
    silent = check([lazy("good", 1.0), lazy("gold_in_completion", 0.0)], ROWS, way=_boxed())
    assert ids(silent, "critical") == set()
    assert "spray.or" in ids(silent, "info", "gold_in_completion")


def test_a_declared_length_term_is_no_finding():
    report = check([lazy("longer", range=None, pays=("length",))], ROWS, way=_boxed())
    assert ids(report, "critical") == set()
    assert "length.pad_delta" not in ids(report)


def test_rewards_of_the_form_group_and_rewards_that_read_the_row():
    report = check([lazy("ranked")], ROWS[:2])
    assert ids(report, "critical") == set()
    assert report.way == "boxed"
    rows = [{**row.row, "entry": f'{{"gold": "{row.row["answer"]}"}}'} for row in ROWS]
    report = check([lazy("knows_one_row")], rows)
    assert report.rewards[0].reads_answer
    assert ids(report, "critical") == set()


def test_form_alone_is_not_judged_by_right_and_wrong():
    catalog = Catalog.load()
    entry = catalog.find("reward", "format")
    report = check([RewardSetup(name="format", entry=entry, settings={"boxed": True})], ROWS[:2])
    assert not report.rewards[0].reads_answer
    assert ids(report, "critical") == set()
    assert "tells right from wrong" in report.notes[0]


def test_a_scorer_that_runs_is_used_and_left_running():
    with Scorer([lazy("good")]) as scorer:
        (lane,) = scorer._lanes
        pid = lane.process.pid
        check(scorer.setups, ROWS[:1], scorer=scorer, seconds=10)
        assert lane.process.pid == pid
        assert lane.process.alive()


def test_rows_that_do_not_do_are_said():
    with pytest.raises(PreflightError, match="asks for the column 'answer'"):
        check([lazy("good")], [{"question": "?"}])
    with pytest.raises(PreflightError, match="no row"):
        check([lazy("good")], [])
