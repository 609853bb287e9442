"""What the installed rewards say that they read: answers, confidences, lenient settings, forms."""

import pytest

from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import build_config
from grpokit.scoring.scorer import RewardSetup, Scorer

CATALOG = Catalog.load()
REWARDS = [entry for entry in CATALOG.entries() if entry.kind == "reward"]
BOX = "\\boxed{%s}"
TAG = "<think>8</think>\n<answer>%s</answer>"
CASES = [
    ("number", {"from": ["boxed"]}, BOX % "0.5", "1/2"),
    ("number", {"from": ["boxed"]}, "It is 7.", None),
    ("number", {"from": ["last"]}, "<think>8", None),
    ("exact", {}, " Yes \n", "Yes"),
    ("exact", {"from": ["answer"], "ignore_case": True}, TAG % "YES", "yes"),
    ("math/accuracy", {}, BOX % "\\frac{1}{2}", "1/2"),
    ("math/accuracy", {}, BOX % "x+ 1", "x + 1"),
    ("math/accuracy", {"extract": ["boxed", "last-number"]}, "So 7 it is.", "7"),
    ("math/arithmetic", {}, "So 7.0 it is.", "7"),
    ("math/gsm8k-correctness", {}, TAG % "1,000", "1000"),
    ("math/gsm8k-correctness", {"legacy": True}, TAG % " 1,000 ", "1,000"),
    ("math/check-numbers", {}, "<SOLUTION>$7</SOLUTION>", "7"),
    ("math/check-numbers", {"legacy": True}, "<SOLUTION>about 7,0 or 8", "70"),
    ("cppo/gsm8k-accuracy", {}, TAG % "18 gallons", "18"),
    ("cppo/gsm8k-accuracy", {}, TAG % "20-24", "20-24"),
    ("cppo/gsm8k-accuracy", {}, TAG % "...", None),
    ("cppo/math-accuracy", {}, f"<think>{BOX % 8}</think>{BOX % '7.0'}", "7"),
    ("cppo/math-accuracy", {"legacy": True}, f"<think>{BOX % 8}</think>", "8"),
    ("rewards-intrinsic/brier", {"extract": ["tag"]}, TAG % "07", "7"),
    ("reasoning-gym/score", {}, TAG % " a  b ", "a b"),
]


@pytest.mark.parametrize(("name", "settings", "text", "answer"), CASES)
def test_the_answer_in_a_completion(name, settings, text, answer):
    entry = CATALOG.find("reward", name)
    setup = RewardSetup(name="it", entry=entry, settings=settings)
    if name == "reasoning-gym/score":
        pytest.importorskip("reasoning_gym")
    with Scorer([setup], isolate=False) as scorer:
        (found,) = scorer.read("answer", "it", [text])
    assert found.fault is None
    assert (found.note or None) == answer


def test_every_reward_that_reads_is_among_the_cases():
    reads = {entry.id for entry in REWARDS if entry.spec.answer}
    assert reads == {name for name, *_ in CASES}


def test_lenient_settings_are_settings_of_the_reward():
    lenient = {entry.id: dict(entry.spec.lenient) for entry in REWARDS if entry.spec.lenient}
    assert set(lenient) == {"number", "exact", "math/accuracy", "math/arithmetic"}
    for name, settings in lenient.items():
        assert build_config(CATALOG.find("reward", name), settings) is not None


def test_rewards_of_the_form_have_a_full_score_and_ask_for_no_answer():
    forms = [entry.spec for entry in REWARDS if entry.spec.form]
    assert {"format", "boxed-format", "think-answer-format"} <= {spec.name for spec in forms}
    assert all(spec.range and not spec.columns and not spec.answer for spec in forms)


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("<confidence>0.8</confidence>", 0.8),
        ("<confidence>80%</confidence>", 0.8),
        ("<confidence>8</confidence>", None),
        ("sure", None),
    ],
)
def test_the_confidence_in_a_completion(text, confidence):
    entry = CATALOG.find("reward", "rewards-intrinsic/brier")
    with Scorer([RewardSetup(name="it", entry=entry, settings={})], isolate=False) as scorer:
        (found,) = scorer.read("confidence", "it", [text])
    assert found.value == confidence
