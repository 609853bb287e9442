"""What an evaluation prints: verdicts, intervals, flips, samples; hostile text does no harm."""

import re
from dataclasses import replace

import pytest

from grpokit.cli.eval_show import show_evaluation
from grpokit.evaluate.overlap import Overlap
from grpokit.evaluate.records import Evaluation, Item, Measured, compare_evaluations

SAMPLING = {"sampling": {"temperature": 0.0}}


def evaluation(label, right, *, n=40, text="{}", finish="stop"):
    items = tuple(
        Item(
            id=f"id{i:06d}",
            index=i,
            question=f"What is {i}?",
            answer=str(i),
            text=text.format(f"{label} says {i}"),
            tokens=5,
            finish=finish,
            scores={"number": float(i in right)},
            total=float(i in right),
            correct=i in right,
        )
        for i in range(n)
    )
    return Evaluation(
        label=label, items=items, decides="number", threshold=1.0, fingerprint=SAMPLING
    )


def shown(capsys, *evaluations, **more):
    found = compare_evaluations(*evaluations) if len(evaluations) == 2 else None
    show_evaluation(evaluations, found, **more)
    return capsys.readouterr().out


def test_a_comparison_shows_verdict_interval_and_both_kinds_of_flips(capsys):
    out = shown(capsys, evaluation("base", {0, 1}), evaluation("trained", set(range(1, 30))))
    assert "trained against base: improved" in out
    assert re.search(r"base +2/40 +5\.0% +\[1\.4%, 16\.5%\] +0\.0% +0\n", out)
    assert "difference  +67.5 points, 95% interval [+47.4, +80.6], McNemar p < 0.0001" in out
    assert "wrong to right  28 (rows 2, 3, 4, 5, 6, 7, 8, 9 and 20 more)" in out
    assert "right to wrong  1 (row 0)" in out
    assert re.search(r"number +0\.050 +0\.725", out)


def test_samples_show_a_gain_and_a_loss_base_above_trained(capsys):
    out = shown(capsys, evaluation("base", {0, 1}), evaluation("trained", {1, 5}))
    assert out.index("item id000005 (row 5)") < out.index("item id000000 (row 0)")
    assert out.index("base (wrong)\n    base says 5") < out.index("trained (right)")
    assert "gold\n    5" in out


def test_no_change_is_never_shown_as_certain(capsys):
    same = evaluation("base", {3})
    out = shown(capsys, same, same)
    assert "no detectable change (smallest detectable: " in out
    assert "interval [-8.8, +8.8]" in out
    assert "McNemar p = 1" in out
    assert "word for word: is this a trained model?" in out
    assert "±" not in out


def test_truncated_and_abstained_answers_are_said(capsys):
    found = evaluation("m", {1}, finish="length")
    out = shown(capsys, found)
    assert "100.0%" in out
    assert "m (wrong, cut off)" in out


def test_hostile_text_is_harmless_and_long_text_is_cut(capsys):
    out = shown(capsys, evaluation("m\x1b[2J", set(), text="\x1b]0;owned\x07 [red]{}" + "x" * 5000))
    assert "\x1b" not in out
    assert "\x07" not in out
    assert r"\x1b]0;owned\x07 [red]" in out
    assert "more characters)" in out


@pytest.mark.parametrize("right", [set(), set(range(40))])
def test_all_wrong_and_all_right_keep_an_interval(capsys, right):
    out = shown(capsys, evaluation("m", right))
    assert ("[0.0%, 8.8%]" if not right else "[91.2%, 100.0%]") in out


def test_several_answers_show_how_often_each_question_was_right(capsys):
    def several(label, right):
        one = evaluation(label, right)
        items = [
            replace(item, sample=sample, correct=item.correct and sample > 1)
            for item in one.items
            for sample in range(4)
        ]
        return replace(one, items=tuple(items), pass_at=(1, 2, 4))

    out = shown(capsys, several("base", {0}), several("trained", set(range(1, 30))))
    assert "40 held-out questions, 4 answers to each, greedy" in out
    assert re.search(r"base +2/160 +1\.2% ", out)
    assert re.search(r"pass@4 +2\.5% +\[0\.4%, 13\.0%\] +72\.5% ", out)
    assert "sign-flip p < 0.0001" in out
    assert "right more often  29 (rows 1, 2, 3, 4, 5, 6, 7, 8 and 21 more)" in out
    assert "solved only by base  1 (row 0)" in out
    assert "base (0 of 4 right; the first: wrong)" in out
    assert "trained (2 of 4 right; the first: wrong)" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def measured(label, right, read=str, **more):
    """An evaluation with everything that can be read in answers; ``read`` makes the answer of a row."""
    one = evaluation(label, right)
    items = [
        replace(item, read=read(item.index), lenient=True, confidence=0.9, **more)
        for item in one.items
    ]
    told = Measured(
        answer=True, confidence="sure", lenient="x", forms={"number": 1.0}, words=("says",)
    )
    return replace(one, items=tuple(items), measured=told)


def test_what_stands_beside_the_accuracy(capsys):
    out = shown(capsys, measured("base", {0, 1}), measured("trained", set(range(30))))
    assert re.search(r"right, read leniently +100\.0% +100\.0%\n", out)
    assert re.search(r"no answer read +0\.0% +0\.0%\n", out)
    assert re.search(r"number in full +5\.0% +75\.0%\n", out)
    assert re.search(r"base +40 +90\.0% +0\.770 +0\.850 \[0\.7\d\d, 0\.900\] +0\.500\n", out)
    assert "the gain is mostly format: +70.0 points, and +0.0 where" in out
    assert "words in 1000 tokens" not in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_details_hold_every_rate(capsys):
    out = shown(capsys, measured("base", {0}), measured("trained", {0, 1}), details=True)
    assert re.search(r"ended by themselves +100\.0% +100\.0%\n", out)
    assert re.search(r"not marked in time +0 +0\n", out)
    assert re.search(r"says +200\.00 +100\.0% +200\.00 +100\.0%\n", out)
    assert re.search(r"86\.7% to 93\.3% +40 +90\.0% +2\.5%\n", out)
    assert all(len(line) <= 80 for line in out.splitlines())


def folded(text):
    return " ".join(text.split())


def test_odd_things_are_told_and_nothing_else(capsys):
    assert "most frequent gold" not in shown(capsys, measured("m", {0}))
    same = measured("m", {0}, read=lambda _: "\x1b[7m7", unread={"answer": "timeout: slow"})
    out = folded(shown(capsys, same))
    assert (
        "m: 100.0% of the answers are \\x1b[7m7; the most frequent gold answer is that of 2.5%"
        in out
    )
    assert "m: 40 answers could not be read: answer, timeout: slow" in out
    several = [replace(item, sample=s, correct=s == 0) for item in same.items for s in range(4)]
    out = shown(capsys, replace(same, items=tuple(several), pass_at=(1, 4)))
    assert "m: in 40 questions an answer is right in one completion and wrong in another" in folded(
        out
    )
    assert re.search(r"maj@4 +100\.0% ", out)
    assert all(len(line) <= 80 for line in out.splitlines())


def test_questions_that_were_trained_on_are_told(capsys):
    one = evaluation("m", {0, 1, 2})
    ids = tuple(one.counts)
    found = {ids[0]: ("exact", 7), ids[1]: ("part", 9)}
    out = shown(capsys, one, overlap=Overlap(ids=ids, found=found, rows=50, size=50, same=True))
    assert "the questions are of the data set that was trained on" in out
    told = (
        "2 of 40 questions stand in the training data: 1 equal, 1 in part; rows 0 (training row 7)"
    )
    assert told in folded(out)
    assert "accuracy on the other 38: m 2.6%" in out
    assert "training" not in shown(capsys, one, overlap=Overlap(ids=ids, rows=50, size=50))
