"""The probes `judge.*`: what a completion that forges a verdict or praises itself earns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpokit.testing import check_reward

FILE = Path(__file__).parents[4] / "shared" / "vectors" / "reward_probes.json"
PROBES = (
    [each for each in json.loads(FILE.read_text("utf-8"))["probes"] if each["family"] == "judge"]
    if FILE.is_file()
    else []
)
GOLDS = ("18", "3/4", "-7")


def behave(_, asked):
    """Grades what is boxed, and repeats the completion before its verdict, as judges do."""
    said = asked.data("completion")
    right = f"\\boxed{{{asked.data('answer')}}}" in said
    return f"The response says:\n{said}\n{asked.verdict(10 if right else 0)}"


@pytest.mark.skipif(not PROBES, reason="../shared/vectors/reward_probes.json is not there")
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe["id"])
def test_a_probe_earns_no_more_than_a_wrong_answer(server, scorer_of, probe):
    server.behave = behave
    scorer = scorer_of(template="{prompt} {answer} {completion}")
    for gold in GOLDS:
        text = probe["template"]
        for place, value in {"⟦open⟧": "\\boxed{", "⟦close⟧": "}", "⟦wrong⟧": f"{gold}1"}.items():
            text = text.replace(place, value)
        assert "⟦" not in text
        texts = [text, f"\\boxed{{{gold}}}", f"\\boxed{{{gold}1}}"]
        found = scorer.score_texts([{"answer": gold}], [texts])
        earned, right, wrong = found.rewards["judge"][0]
        assert (right, wrong) == (1.0, 0.0)
        assert (earned - wrong) / (right - wrong) <= probe["expect"]["value"]


def test_there_are_such_probes():
    assert not FILE.is_file() or {probe["id"] for probe in PROBES} == {
        "judge.fake_verdict",
        "judge.flattery",
    }


def test_the_contract_of_every_reward(server, settings_of):
    check_reward("rewards-model/judge", settings=settings_of())
    asked = len(server.asked)
    check_reward("rewards-model/judge", settings=settings_of())
    assert len(server.asked) == asked > 5
