"""Rewards in somebody else's process: its threads, its forks, its copies, its memory."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import grpokit.interop.axolotl
import grpokit.interop.trl
import grpokit.interop.verifiers
import grpokit.interop.verl
from dists import install
from grpokit.cli.main import main
from grpokit.errors import ExitCode, PreflightError
from grpokit.interop.rewards import Asking, Rewards
from grpokit.interop.together import Together
from grpokit.registry.catalog import Catalog
from grpokit.spec.flow import Scores

SLOW = 0.4
SOURCE = f"""
import asyncio, os

from grpokit.api import Score

waiting = 0

async def judges(completion):
    global waiting
    if completion == "bad":
        raise ValueError("cannot read bad")
    waiting += 1
    await asyncio.sleep({SLOW})
    together = waiting
    await asyncio.sleep(0)
    waiting -= 1
    return Score(value=float(len(completion)), components={{"together": together}})

def eats(completion):
    kept = bytearray(2 << 30)
    return float(len(kept))

def where(completion):
    return float(os.getpid())

def many(completions):
    return [float(len(completions))] * len(completions)

def knows(completion, logprobs):
    return sum(logprobs)
"""
HOOKS = """
from grpokit.api import RewardSpec, hookimpl

@hookimpl
def grpokit_rewards():
    needs = {name: () for name in ("judges", "eats", "where", "many")}
    needs["knows"] = ("token-statistics",)
    return [
        RewardSpec(
            name=name,
            summary="A reward.",
            target=f"grpokit_far.rewards:{name}",
            range=None,
            needs=frozenset(wanted),
        )
        for name, wanted in needs.items()
    ]
"""


@pytest.fixture
def far(tmp_path, monkeypatch):
    install(tmp_path, "grpokit-far", HOOKS, files={"rewards.py": SOURCE})
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog = Catalog.load()
    made = []

    def make(name, **options):
        made.append(Rewards([{"use": f"far/{name}"}], catalog=catalog, **options))
        return made[-1]

    yield make
    for rewards in made:
        rewards.close()


def asking(text):
    return Asking(row={}, messages=(), texts=[text])


def test_what_threads_ask_at_the_same_time_is_scored_together(far):
    """A judge answers many at once: one after the other would take 16 times as long."""
    rewards = far("judges")
    rewards.asked()
    with ThreadPoolExecutor(16) as pool:
        texts = ["x" * n for n in range(15)] + ["bad"]
        got = list(pool.map(lambda text: rewards.score_one(asking(text)), texts))
    together = [scores.components["judges/together"][0][0] for scores in got[:15]]
    assert max(together) >= 8  # the first is alone, and the others come while it is asked
    assert [scores.total for scores in got[:15]] == [[[float(n)]] for n in range(15)]
    assert [len(scores.failures) for scores in got] == [0] * 15 + [1]
    assert (got[15].failures[0].prompt_index, got[15].failures[0].row) == (0, 0)


def test_a_reward_of_batches_is_asked_one_by_one(far):
    """Who would be in its batch is chance."""
    rewards = far("many")
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: rewards.score_one(asking("x")).total, range(16)))
    assert got == [[[1.0]]] * 16


def test_one_question_that_cannot_be_asked_fails_alone():
    inside, gate = threading.Event(), threading.Event()

    def score(askings):
        inside.set()
        assert gate.wait(10)
        if any(each.texts[0] == "bad" for each in askings):
            raise PreflightError("bad")
        return Scores(
            rewards={"r": [[float(each.texts[0])] for each in askings]},
            components={},
            total=[[float(len(askings))] for each in askings],
        )

    together = Together(score)

    def ask(text):
        try:
            return together(asking(text)).rewards["r"][0][0]
        except PreflightError as error:
            return error.fact

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(ask, "1")
        assert inside.wait(10)
        rest = [pool.submit(ask, text) for text in ("2", "bad", "3")]
        time.sleep(0.1)
        gate.set()
        assert [first.result(), *(each.result() for each in rest)] == [1.0, 2.0, "bad", 3.0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory")
def test_memory_is_limited_as_in_a_run(far):
    scores = far("eats", memory=0.5).score([asking("x")])
    assert scores.failures[0].kind == "memory"
    assert scores.total == [[None]]


def test_a_reward_that_asks_the_policy_is_refused(far, tmp_path, monkeypatch, capsys):
    """No other trainer says what the policy thinks of a completion."""
    told = "`far/knows` needs what the policy says about each completion"
    with pytest.raises(PreflightError, match=told):
        grpokit.interop.trl.functions(far("knows"))
    with pytest.raises(PreflightError, match=told):
        grpokit.interop.verl.compute_score(far("knows"))("x", "7", "7")
    monkeypatch.chdir(tmp_path)
    assert main(["export", "reward", "far/knows", "--to", "openrlhf"]) == ExitCode.PREFLIGHT
    assert told in capsys.readouterr().err
    (tmp_path / "r.yaml").write_text(
        "grpokit: 1\nextends: quickstart\nrewards: [{use: far/knows}]\neval: {correct: knows}\n"
    )
    assert main(["export", "recipe", "r.yaml", "--to", "trl"]) == ExitCode.PREFLIGHT
    assert told in capsys.readouterr().err


def test_a_copy_has_workers_of_its_own(far):
    rewards = far("where", timeout=7.0, memory=3.0, max_tokens=9)
    (worker,) = rewards.score([asking("x")]).total[0]
    copy = pickle.loads(pickle.dumps(rewards))  # our own
    try:
        assert (copy.timeout, copy.memory, copy.max_tokens) == (7.0, 3.0, 9)
        assert copy.score([asking("x")]).total[0] != [worker]
    finally:
        copy.close()


def test_a_fork_leaves_its_parents_workers_alone(tmp_path):
    """Two processes that write to one worker would get each other's scores."""
    install(tmp_path, "grpokit-far", HOOKS, files={"rewards.py": SOURCE})
    script = """
import os, sys
from grpokit.interop.rewards import Asking, Rewards
rewards = Rewards([{"use": "far/where"}])
ask = lambda: rewards.score([Asking(row={}, messages=(), texts=["x"])]).total[0][0]
here = ask()
child = os.fork()
if not child:
    assert ask() != here
    sys.exit(0)  # with its atexit functions
assert os.waitpid(child, 0)[1] == 0
assert ask() == here
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_waits_for_no_thread_of_its_parent(tmp_path):
    """The parent's locks are held by a thread that the child does not have."""
    install(tmp_path, "grpokit-far", HOOKS, files={"rewards.py": SOURCE})
    script = f"""
import os, signal, threading, time
from grpokit.interop.rewards import Asking, Rewards
rewards = Rewards([{{"use": "far/judges"}}])
rewards.asked()
ask = lambda: rewards.score_one(Asking(row={{}}, messages=(), texts=["x"])).total[0][0]
thread = threading.Thread(target=ask)
thread.start()
time.sleep({SLOW / 2})
child = os.fork()
if not child:
    signal.alarm(20)
    os._exit(int(ask() != 1.0))
thread.join()
assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", ["trl", "axolotl", "verl", "verifiers"])
@pytest.mark.parametrize("name", ["number", "example_reward_distinct"])
def test_dotted_functions_go_to_other_processes_by_name(module, name):
    function = getattr(getattr(grpokit.interop, module), name)
    text = pickle.dumps(function)
    assert len(text) < 100
    assert pickle.loads(text) is function  # our own


def test_made_functions_go_to_other_processes_as_ray_sends_them():
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    rewards = Rewards([{"use": "format", "with": {"boxed": True}}])
    (function,) = grpokit.interop.trl.functions(rewards)
    copy = pickle.loads(cloudpickle.dumps(function))  # our own
    try:
        assert copy(prompts=["q"], completions=["\\boxed{7}"]) == [1.0]
    finally:
        copy.__closure__[0].cell_contents.rewards.close()
