"""The linear matcher against Python's ``re``, on random patterns and texts."""

from __future__ import annotations

import random
import re
import time

import pytest

from grpokit.builtins.rewards.linear import compile_pattern


def random_pattern(rng: random.Random, depth: int = 3) -> str:
    kind = rng.randrange(9 if depth else 4)
    if kind < 3:
        return (
            rng.choice("abc") if kind else rng.choice([".", r"\d", r"\w", "[ab]", "[^a]", "[a-c1]"])
        )
    if kind == 3:
        return rng.choice(["^", "$", "", r"\s"])
    if kind == 4:
        return random_pattern(rng, depth - 1) + random_pattern(rng, depth - 1)
    inner = random_pattern(rng, depth - 1)
    if kind == 5:
        return f"({inner}|{random_pattern(rng, depth - 1)})"
    return f"(?:{inner}){rng.choice(['*', '+', '?', '{2}', '{1,2}', '{0}', '{,2}', '{2,}', '*?', '??'])}"


def test_it_agrees_with_re():
    rng = random.Random(0)
    texts = ["", "\n", *("".join(rng.choices("abc1 \n", k=rng.randrange(1, 9))) for _ in range(40))]
    compared = matched = 0
    for _ in range(1500):
        flags = rng.choice(["", "(?s)", "(?i)"])
        pattern = flags + random_pattern(rng)
        # In re a $ also matches before a last newline; here it is the very end.
        reference = re.compile(pattern.replace("$", r"\Z"))
        search = compile_pattern(pattern)
        for sample in rng.sample(texts, 8):
            text = sample.upper() if flags == "(?i)" else sample
            expected = reference.search(text) is not None
            assert search(text) == expected, (pattern, text)
            compared += 1
            matched += expected
    assert 0.2 < matched / compared < 0.9


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (r"^\d+\.\d{2}$", "12.50", "12.5"),
        (r"[]a]", "]", "b"),
        (r"[^]a]", "b", "]a"),
        (r"[a-]", "-", "b"),
        (r"[\d\-x]", "-", "y"),
        (r"a{,x}", "a{,x}", "a"),
        (r"\{\}\\", "{}\\", "{}"),
        (r"(?P<n>ab)+c", "ababc", "abab"),
        (r"(?i)[a-c]X", "Bx", "dx"),
        ("", "", None),
        ("a||b", "c", None),
        (r"<answer>.+?</answer>", "<answer>1</answer>", "<answer></answer>"),
    ],
)
def test_syntax(pattern, yes, no):
    search = compile_pattern(pattern)
    assert search(yes)
    assert no is None or not search(no)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(a)\1", r"\\1 is not supported"),
        (r"\bword", r"\\b is not supported"),
        ("(?=a)", "look-around"),
        ("(?<!a)b", "look-around"),
        ("(?>a)", "atomic"),
        ("a*+", "possessive"),
        ("(a", "not closed"),
        ("a)", "not opened"),
        ("[a", "not closed"),
        ("*a", "nothing to repeat"),
        ("a{3,2}", "wrong way round"),
        ("[c-a]", "wrong way round"),
        ("(?:a{50}){50}", "more than 1000 states"),
        ("a{9999}", "more than 1000 states"),
        ("(" * 60 + ")" * 60, "nested more than 50"),
        ("a\\", "is not supported"),
        ("(?P<n", "name of a group"),
    ],
)
def test_what_cannot_be_matched_in_linear_time_is_refused_with_the_reason(pattern, reason):
    with pytest.raises(ValueError, match=reason):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a|aa)*b", "a" * 50_000),
        (r"(a*)*$b", "a" * 50_000),
        (r"\s*\s*\s*\s*x", " " * 50_000),
        (r"^(<think>(.|\n)*</think>\s*)+!$", "<think></think>" * 3_000),
        (r"(.*)(.*)(.*)(.*)x", "a" * 50_000),
        (r"(a?){200}a{200}b", "a" * 2_000),
    ],
)
def test_patterns_that_blow_up_elsewhere_take_linear_time(pattern, text):
    begin = time.process_time()
    assert not compile_pattern(pattern)(text)
    assert time.process_time() - begin < 2.0


def test_many_different_characters_do_not_fill_the_memory():
    search = compile_pattern("(ab?)*x$")
    text = "".join(chr(point) for point in range(0x100, 0x8000))
    assert not search(text)
    assert not search(text + "ab")
    assert search(text + "abx")
