"""Text that was written to break, to stall or to deceive a grader."""

from __future__ import annotations

import random
import time

import pytest

from grpokit_math.verify import verify

LONG = [
    "+".join(f"{base}^{{9999}}" for base in range(3, 48)),
    "*".join(["(1+x+x^2+x^3+x^4+x^5)^{64}"] * 18),
    "*".join(["1000!"] * 80),
    "\\binom{10000}{5000}" * 20,
    "\\sqrt{" * 30 + "2" + "}" * 30,
    "1/" * 200 + "2",
    "+".join(f"\\sqrt{{{10**9 + number}}}" for number in range(30)),
    "x'" * 200,
    "5" + "!" * 400,
    "\\pm1" * 100,
    "\\pm 1," * 60,
    "\\cos " * 100 + "x",
]
REFUSED = [
    "2^{1000000000}",
    "10^{10^{10}}",
    "(10^7)!",
    "\\binom{10^9}{5\\cdot 10^8}",
    "\\dfrac{5^{\\left(5^{\\left(5^{\\left(5^5\\right)}\\right)} - 4\\right)} - 5}{16}",
    "\\sin x+10^{10^{10}}",
    "e^{e^{e^{e^{e}}}}",
    "(" * 2000,
    "{" * 500,
    "1" * 6000,
    "\\sqrt{" * 200,
]
BITS = r"""\frac \sqrt { } ( ) [ ] \{ \} ^ _ 1 2 34 0 x y sin \sin \pi e i + - * / = < \le \cup , ; \text{
cm ! % | \pm \infty \left \right $ \$ . \begin{pmatrix} \end{pmatrix} & \\ \overline and or \log
\mathbb R \setminus ^\circ \binom \boxed \emptyset ' \ln a \in 999 10^ \cos abc (A) : \ [3]"""
ODD = " \u200b\u00b2\x00\ud800\U0001d7d9\u0663\u202e\n\x1b"
GOLDS = ("5", "x", "1/2", "(1,2)", "1,2", "\\sqrt{2}", "x+1", "\\text{east}", "(2,\\infty)", "x=5")


@pytest.fixture(scope="module", autouse=True)
def started():
    verify("\\sin 2x", "2 \\sin x \\cos x", seconds=60)


@pytest.mark.parametrize("answer", REFUSED)
def test_what_costs_too_much_is_not_looked_at(answer):
    start = time.monotonic()
    verdict = verify("5", answer)
    assert not verdict.correct
    assert verdict.stage == "gate"
    assert time.monotonic() - start < 0.5


@pytest.mark.parametrize("answer", LONG)
@pytest.mark.parametrize("gold", ["5", "x+\\sqrt{2}"])
def test_what_may_be_looked_at_ends_in_time(gold, answer):
    verdict = verify(gold, answer, seconds=2)
    assert not verdict.correct
    assert verdict.stage != "error"


def test_identical_texts_are_equal_before_any_gate():
    for answer in REFUSED:
        assert verify(answer, f" {answer} ").correct


@pytest.mark.parametrize(
    "mark", ["(", "{", "\\frac", "|", "-", "1,", "\\text{", "^", "\\pm", "\\\\", "$"]
)
def test_a_hundred_thousand_characters(mark):
    start = time.monotonic()
    for gold in GOLDS:
        assert not verify(gold, mark * 100_000).correct
        assert not verify(gold, mark * (511 // len(mark))).correct
    assert time.monotonic() - start < 3


def test_no_text_raises_and_none_is_an_error():
    lot = random.Random(20)
    bits = [*BITS.split(), *ODD]
    for _ in range(4000):
        answer = "".join(lot.choice(bits) for _ in range(lot.randint(1, lot.choice((3, 6, 12)))))
        verdict = verify(lot.choice(GOLDS), answer, seconds=20)
        assert verdict.stage != "error", (answer, verdict)


def test_nothing_is_evaluated(tmp_path):
    target = tmp_path / "written"
    for answer in (
        f"__import__('pathlib').Path('{target}').touch()",
        f"\\sin(__import__('os').system('touch {target}'))",
        f"open('{target}','w')",
        "exit()",
        "().__class__.__base__.__subclasses__()",
    ):
        assert not verify("5", answer, seconds=20).correct
        assert not verify(answer, "5", seconds=20).correct
    assert not target.exists()
