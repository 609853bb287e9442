"""What completions say: loops, ends that are missing, and one answer for all prompts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fed_diagnoses import feed, nothing, only
from grpokit.diagnose.rollouts import measure, samples
from saved_runs import completion, group


def after(step: int, before: float, then: float) -> Callable[[int], float]:
    return lambda now: before if now < step else then


def learns(step: int) -> float:
    return min(0.2 + 0.02 * step, 0.7)


def test_loops() -> None:
    assert nothing(feed(100, repetition=after(40, 0.02, 0.24)))
    assert nothing(feed(100, repetition=after(40, 0.2, 0.39)))
    found = only(feed(100, repetition=after(40, 0.02, 0.25)))
    assert (found.name, found.severity, found.first) == ("repetition", "warn", 40)
    assert only(feed(100, repetition=after(40, 0.2, 0.41))).name == "repetition"
    assert nothing(feed(60, repetition=0.59))
    assert only(feed(60, repetition=0.6)).severity == "stop"
    assert only(feed(60, repetition=0.6, reward=learns)).severity == "warn"


def test_ends_that_are_missing() -> None:
    assert nothing(feed(60, best_cut=0.89))
    found = only(feed(60, best_cut=0.9, truncated=0.05))
    assert (found.name, found.severity, found.wasted) == ("missing-end", "warn", 60 * 3.2)


def test_one_answer_for_all() -> None:
    assert nothing(feed(60, one_answer=0.59))
    found = only(feed(60, one_answer=0.6))
    assert (found.name, found.severity) == ("answer-collapse", "warn")
    assert only(feed(60, one_answer=0.9)).severity == "stop"
    assert nothing(feed(60, one_answer=0.95, reward=learns))


def step(*groups: tuple[object, list[str]], totals: tuple[float, ...] = (0.0,)) -> dict[str, float]:
    """What is measured of a step with these gold answers and completions; totals are taken in turn."""
    return measure(
        [
            group(
                1,
                place,
                answer,
                [completion(n, text, totals[n % len(totals)]) for n, text in enumerate(texts)],
            )
            for place, (answer, texts) in enumerate(groups)
        ]
    )


def test_how_much_more_one_completion_is_given_than_answers_have_in_common() -> None:
    """Three of four rows are 7; two of three different answers are 7."""
    assert step(("7", ["7", "7"]), ("8", ["7", "x"]))["one_answer"] == pytest.approx(0.5)
    assert step(("7", ["7"]), ("8", ["7"]))["one_answer"] == 1.0
    assert step(("7", ["7", "7"]), ("8", ["8", "8"]))["one_answer"] == 0.0
    assert step(("7", ["a"]), ("8", ["b"]), ("7", ["c"]))["one_answer"] == 0.0
    assert "one_answer" not in step(("7", ["7"]), ("7", ["7"]))
    assert step((None, ["7"]), (None, ["7"]))["one_answer"] == 1.0


def test_how_many_of_the_best_are_cut() -> None:
    texts = ["whole", "cut...", "cut...", "whole"]
    best = (1.0, 1.0, 1.0, 0.0)
    two = step(("7", texts), ("8", texts), totals=best)
    assert two["best_cut"] == pytest.approx(4 / 6)
    assert "best_cut" not in step(("7", texts), totals=best), "three are too few"
    assert "best_cut" not in step(("7", texts), ("8", texts), totals=(1.0,) * 4), "none is best"


def test_repetition_is_that_of_at_most_sixteen_completions() -> None:
    loop, plain = "a b c d " * 5, "a b c d e f g h"
    half = step(("7", [loop, plain] * 4))["repetition"]
    assert half == pytest.approx((1 - 4 / 17) / 2)
    many = step(*((str(n), [loop] * 8) for n in range(40)))["repetition"]
    assert many == pytest.approx(1 - 4 / 17)


def test_samples_show_the_finding() -> None:
    rows = [completion(0, "a b c d e", 1.0), completion(1, "a a a a a a a", 0.0)]
    rows.append(completion(2, "on and on...", 0.5))
    groups = [group(3, 0, "7", rows)]
    assert next(each.sample for each in samples("repetition", groups)) == 1
    assert [each.sample for each in samples("missing-end", groups)] == [2]
