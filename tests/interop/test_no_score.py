"""A completion without a score is one everywhere: no adapter makes a 0 of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from dists import install, reward_hooks
from grpokit.errors import RewardError
from grpokit.interop import openrlhf, trl, verifiers, verl
from grpokit.interop.rewards import Rewards
from grpokit.registry.catalog import Catalog

SOURCE = """
import os

def odd(completion):
    if completion == "abstain":
        return None
    if completion == "raise":
        raise ValueError("cannot read this")
    if completion == "nan":
        return float("nan")
    if completion == "text":
        return "1.0"
    if completion == "exit":
        os._exit(3)
    while completion == "hang":
        pass
    return 0.5
"""
WHY = {
    "abstain": "no reward applies",
    "raise": "cannot read this",
    "nan": "returned nan",
    "text": "returned the text '1.0'",
    "exit": "exit code 3",
    "hang": "gave no answer within 0.5 s",
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    hooks = reward_hooks("odd", "grpokit_oddly.rewards:odd")
    install(folder, "grpokit-oddly", hooks, files={"rewards.py": SOURCE})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        made = Rewards(
            [{"use": "oddly/odd"}], catalog=Catalog.load(), timeout=0.5, max_error_rate=1.0
        )
        yield made
        made.close()


def asked_verl(rewards, text, **options):
    return verl.compute_score(rewards, **options)("x", text, "7")["score"]


def asked_openrlhf(rewards, text, **options):
    return openrlhf.reward_func(rewards, **options)([f"q{text}"], ["q"], ["7"])["rewards"]


def asked_verifiers(rewards, text):
    task = SimpleNamespace(model_dump=lambda **_: {"prompt": "q", "answer": "7"})
    found = asyncio.run(verifiers.score(rewards)(task, SimpleNamespace(last_reply=text)))
    return sum(found.values())


@pytest.mark.parametrize("ask", [asked_verl, asked_openrlhf, asked_verifiers])
def test_who_asks_about_one_gets_an_error(odd, ask):
    for text, why in WHY.items():
        with pytest.raises(RewardError, match=why):
            ask(odd, text)
        assert ask(odd, "fine") == 0.5


@pytest.mark.parametrize("ask", [asked_verl, asked_openrlhf])
def test_a_fallback_is_what_somebody_chose(odd, ask):
    for text in ("abstain", "raise"):
        assert ask(odd, text, fallback=-1.0) == -1.0


def test_trl_gets_none(odd):
    (function,) = trl.functions(odd)
    texts = [*WHY, "fine"]
    counts = {}
    got = function(prompts=["q"] * len(texts), completions=texts, log_metric=counts.__setitem__)
    assert got == [None] * len(WHY) + [0.5]
    assert counts == {"failed/odd": 5.0}
