"""Workers come, go and die with their trainer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from grpokit.api import ComponentError, Interrupted, PreflightError
from naughty import alive, children, gone, naughty

HELPERS = Path(__file__).parents[1] / "helpers"


def test_a_worker_is_ready_in_half_a_second(make):
    times = []
    for _ in range(3):
        scorer = make("one")
        begin = time.monotonic()
        scorer.start()
        times.append(time.monotonic() - begin)
    # Measured beside a bare interpreter: the machine may be busy.
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "import json, asyncio"], check=True)
    assert min(times) < max(0.5, 4 * (time.monotonic() - begin))


def test_a_worker_imports_neither_torch_nor_rich(make):
    code = (
        "import sys, grpokit.scoring.call, grpokit.scoring.wire, grpokit.registry.resolve;"
        "print([m for m in ('torch', 'numpy', 'rich', 'typer', 'yaml') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_closing_ends_every_worker(make):
    before = children()
    scorer = make("one", "good", "threaded")
    scorer.score_texts([{"answer": ""}], [["a"]])
    workers = children() - before
    assert len(workers) == 3
    scorer.close()
    assert not any(alive(pid) for pid in workers)
    assert scorer.score_texts([{"answer": ""}], [["a"]]).rewards["one"] == [[1.0]]


def test_a_worker_killed_from_outside_in_a_call_loses_that_row(make, earlier):
    scorer = make("acts", timeout=20.0)
    scorer.start()
    (worker,) = children() - earlier
    timer = threading.Timer(0.3, os.kill, (worker, signal.SIGKILL))
    timer.start()
    scores = scorer.score_texts([{}], [["fine", "sleep", "fine"]])
    timer.join()
    assert scores.rewards["acts"] == [[1.0, None, 1.0]]
    assert scores.failures[0].message == "its process was killed by SIGKILL"


def test_a_worker_killed_between_two_steps_loses_nothing(make):
    scorer = make("worker_pid")
    first = scorer.score_texts([{}], [["a"]]).rewards["worker_pid"][0][0]
    os.kill(int(first), signal.SIGKILL)
    assert gone(int(first))
    scores = scorer.score_texts([{}], [["a"]])
    assert scores.failures == ()
    assert scores.rewards["worker_pid"][0][0] != first


def test_a_stop_request_ends_the_wait_and_the_workers(make):
    scorer = make("acts", "one", timeout=60.0)
    scorer.start()
    begin = time.monotonic()

    def should_stop() -> None:
        if time.monotonic() - begin > 0.3:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        scorer.score_texts([{}], [["sleep"]], should_stop=should_stop)
    assert time.monotonic() - begin < 2.0
    assert scorer.score_texts([{}], [["fine"]]).rewards["acts"] == [[1.0]]


def test_a_stop_request_ends_a_start(make, earlier):
    scorer = make(naughty("one", module="naughty_waits"))
    begin = time.monotonic()

    def should_stop() -> None:
        if time.monotonic() - begin > 0.3:
            raise Interrupted(2)

    with pytest.raises(Interrupted):
        scorer.start(should_stop)
    assert time.monotonic() - begin < 5.0
    assert children() <= earlier


def test_a_worker_is_out_of_reach_of_the_terminal(make, earlier):
    make("one").start()
    (worker,) = children() - earlier
    assert os.getsid(worker) == worker != os.getsid(0)


@pytest.mark.parametrize(
    ("act", "thread"), [("hang in C", False), ("fine", False), ("fine", True), ("hang in C", True)]
)
def test_a_killed_trainer_takes_its_workers_along(tmp_path, act, thread):
    code = f"""
import sys, threading, time
sys.path.insert(0, {str(HELPERS)!r})
from naughty import naughty, children
from grpokit.scoring.scorer import Scorer
def work():
    scorer = Scorer([naughty("acts")], timeout=60)
    scorer.start()
    print(*children(), flush=True)
    scorer.score_texts([{{}}], [[{act!r}]])
    time.sleep(60)
threading.Thread(target=work).start() if {thread} else work()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as trainer:
        assert trainer.stdout
        worker = int(trainer.stdout.readline())
        time.sleep(0.3)
        assert alive(worker)
        trainer.kill()
    assert gone(worker)


@pytest.mark.parametrize(
    ("module", "fact"),
    [
        ("naughty_import", "ModuleNotFoundError: No module named 'a_package_that_nobody_has'"),
        ("naughty_exit", "did not start: its process ended with exit code 7"),
        ("naughty_crash", "was killed by SIGSEGV: Segmentation fault (File "),
        ("naughty_memory", "raise scoring.memory (16.0 GiB), or let it load less"),
        ("naughty_rewards", "has no attribute 'missing'"),
    ],
)
def test_a_reward_that_cannot_be_built_is_an_error_before_the_run(make, earlier, module, fact):
    scorer = make("one", naughty("missing", module=module))
    with pytest.raises(ComponentError) as caught:
        scorer.start()
    assert fact in str(caught.value)
    assert "naughty/missing (grpokit-naughty 1.2)" in caught.value.place
    assert caught.value.remedy
    assert children() <= earlier


def test_a_value_that_cannot_be_sent_names_its_column(make):
    row = {"answer": "a", "image": b"\x00"}
    assert make("good").score_texts([row], [["a"]]).rewards["good"] == [[1.0]]
    with pytest.raises(PreflightError) as caught:
        make("everything").score_texts([row], [["a"]])
    assert caught.value.place == "data set row 0"
    assert "the column 'image': a bytes cannot be sent" in caught.value.fact
