"""Planted flaws are found by their probe, and rewards without one are clean."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from grpokit.errors import PreflightError
from grpokit.probes import check
from grpokit.probes.expand import make_cases
from grpokit.probes.library import Way
from grpokit.probes.measure import TOTAL
from grpokit.probes.outside import audited, percentile, start_audits
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
        "standardises": {"contract.batch_independence"},
        "tires": {"contract.determinism", "contract.abstains"},
        "shares_a_global": {"contract.threads"},
        "other_in_each_process": {"contract.pickle_spawn"},
        "zero_for_missing": {"contract.gold_zero"},
        "swallows": {"contract.gold_zero"},
        "knows_the_columns": {"contract.kwargs_tolerance"},
        "first_message": {"contract.chat_vs_text"},
        "abstains_on_some_rows": {"contract.abstains"},
        "silent_about_nothing": {"contract.abstains"},
        "gives_up": {"contract.stops"},
        "shouts": set(),
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


def test_what_gives_every_completion_the_same_cannot_teach():
    names = {"same_for_all": "warning", "by_row_only": "warning"}
    report = check([lazy(name, range=None) for name in names], ROWS[:2], way=_boxed())
    found = {f.subject: f for f in report.findings if f.id == "contract.signal_variance"}
    assert found.keys() == {*names, TOTAL}
    assert found[TOTAL].severity == "warning"
    assert {found[name].severity for name in names} == {"info"}
    assert "gives 0.5 to each of " in found["same_for_all"].fact


@pytest.mark.parametrize(("tag", "expected"), [("plan", True), ("answer", False)])
def test_a_form_that_no_probe_has_is_told_from_one_that_some_have(tag, expected):
    setup = RewardSetup(
        name="format",
        entry=Catalog.load().find("reward", "format"),
        settings={"tags": ["think", tag]},
    )
    found = check([setup], ROWS[:1], way=_boxed())
    assert ("contract.signal_variance" in ids(found, "warning")) == expected
    if expected:
        way = Way(name="x", before="<think>So.</think>", open="<plan>", close="</plan>", after="")
        assert "contract.signal_variance" not in ids(check([setup], ROWS[:1], way=way))


def test_slow_calls_are_counted_as_they_are():
    (case,) = make_cases(list(ROWS[:1]), ["21"])
    with Scorer([lazy("slow")]) as scorer:
        (audit,) = start_audits(scorer, case, _boxed())
    (found,) = audited(audit, audit.finish(None))
    assert found.id == "contract.latency_p99"
    assert re.match(r"the slowest of \d\d calls takes \d+ ms", found.fact)
    assert percentile([1.0] * 99 + [9.0]) == 1.0
    assert percentile([]) is None


def test_rewards_that_need_a_model_keep_promises_on_made_up_facts():
    statistics = {"needs": ("token-statistics",), "range": None}
    ahead = {"needs": ("continuations",), "continuations": "lazy_rewards:gold_again"}
    rewards = [
        lazy("good"),
        lazy("sure", 0.1, **statistics),
        lazy("surely_random", 0.0, **statistics),
        lazy("likely", 0.1, **ahead, range=None),
    ]
    report = check(rewards, ROWS[:1], way=_boxed())
    assert ids(report, "critical") == set()
    assert ids(report, "warning") == {"contract.determinism"}  # of what has weight 0
    assert {each.name for each in report.rewards if each.needs_model} == {
        "sure",
        "surely_random",
        "likely",
    }
    assert [each.name for each in report.rewards if each.reads_answer] == ["good"]
    assert any(note.startswith("sure, surely_random, likely: no model") for note in report.notes)
    assert next(e for e in report.rewards if e.name == "sure").highest == 5.0


def test_a_slow_reward_is_probed_as_far_as_time_goes():
    began = time.monotonic()
    report = check([lazy("very_slow")], ROWS, seconds=3.0)
    assert time.monotonic() - began < 4
    assert report.missed
    assert "base.margin" not in ids(report)
    assert report.probes >= 4
    assert any("ended" in note for note in report.notes)


def test_a_slow_reward_gets_no_margin_in_a_way_that_it_may_not_want():
    report = check(
        [lazy("slow_tags")], ROWS, seconds=1.6
    )  # for some ways, and tags are none of these
    assert "base.margin" not in ids(report)
    report = check([lazy("slow_tags")], ROWS, seconds=2.5, hint="tags-one-line")
    assert report.way == "tags-one-line"
    assert report.right == 1.0


def test_nothing_is_said_where_nothing_was_asked():
    report = check([lazy("good")], ROWS, seconds=0.0)
    assert ids(report) == set()
    assert report.right is None


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


def test_rows_without_a_gold_answer_are_left_out_and_counted():
    rows = [ROWS[0].row, {**ROWS[1].row, "answer": None}, {**ROWS[2].row, "answer": ""}]
    report = check([lazy("good")], rows, seconds=5.0, way=_boxed())
    assert report.rows == 1
    assert "2 of 3 rows have no gold answer: left out" in report.notes
    assert ids(report, "critical") == set()


def test_rows_that_do_not_do_are_said():
    with pytest.raises(PreflightError, match="asks for the column 'answer'"):
        check([lazy("good")], [{"question": "?"}])
    with pytest.raises(PreflightError, match="no row"):
        check([lazy("good")], [])
