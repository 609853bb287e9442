"""The worker processes: they are ended, replaced and never outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest

from grpokit_math.verify import close, verify
from grpokit_math.verify.grammar import parse
from grpokit_math.verify.pool import Failed, Pool, TooSlow
from grpokit_math.verify.tokens import tokenise
from grpokit_math.verify.worker import _limit_memory

SIN, COS = parse(tokenise("\\sin x")), parse(tokenise("\\cos x"))
TWO_X = parse(tokenise("2\\sin x\\cos x")), parse(tokenise("\\sin 2x"))
# To be computed by sympy as it builds the expression, in C, with the lock of the interpreter held.
HANGS = ("pow", ("num", Fraction(3)), ("num", Fraction(10**9)))


@pytest.fixture(scope="module")
def pool():
    pool = Pool()
    yield pool
    pool.close()


@pytest.fixture
def worker(pool):
    """The process id of the worker that has answered a question, and answers the next one."""
    assert pool.ask(*TWO_X, tolerance=0.0, seconds=60) is True
    return pool._idle[-1]._process.pid


def pids(pool):
    return {worker._process.pid for worker in pool._all}


def lives(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def gone(pid, seconds):
    end = time.monotonic() + seconds
    while lives(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_a_proof_and_a_refutation(pool):
    assert pool.ask(*TWO_X, tolerance=0.0, seconds=60) is True
    assert pool.ask(SIN, COS, tolerance=0.0, seconds=60) is False


def test_one_worker_serves_many_questions(pool, worker):
    for _ in range(3):
        pool.ask(SIN, COS, tolerance=0.0, seconds=60)
    assert worker in pids(pool)


def test_memory_is_limited(worker):
    limits = Path(f"/proc/{worker}/limits").read_text().splitlines()
    (memory,) = (line for line in limits if line.startswith("Max address space"))
    assert int(memory.split()[3]) <= 2 << 30


def test_a_hang_in_c_is_killed_at_the_deadline_and_the_next_question_answered(pool, worker):
    start = time.monotonic()
    with pytest.raises(TooSlow):
        pool.ask(HANGS, SIN, tolerance=0.0, seconds=0.5)
    assert time.monotonic() - start < 3
    assert gone(worker, 2)
    assert pool.ask(*TWO_X, tolerance=0.0, seconds=60) is True


def test_after_a_kill_one_worker_stands_ready_while_another_starts(pool, worker):
    for _ in range(2):
        with pytest.raises(TooSlow):
            pool.ask(HANGS, SIN, tolerance=0.0, seconds=0.2)
        assert len(pids(pool)) == 2
    assert gone(worker, 2)
    pool.ask(*TWO_X, tolerance=0.0, seconds=60)
    used = pool._idle[-1]
    assert used.ready()
    assert pool._take() is used  # not the one that may still be starting
    pool._idle.append(used)


def test_the_start_of_a_worker_is_not_charged():
    fresh = Pool()
    began = time.monotonic()
    same, took = fresh.ask_timed(*TWO_X, tolerance=0.0, seconds=60)
    fresh.close()
    assert same
    assert took < 0.8 * (time.monotonic() - began)


def test_a_worker_that_cannot_import_says_so(monkeypatch, tmp_path):
    (tmp_path / "sympy.py").write_text("raise ImportError('no such thing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh = Pool()
    with pytest.raises(Failed, match="sympy cannot be imported: no such thing"):
        fresh.ask(*TWO_X, tolerance=0.0, seconds=60)
    fresh.close()


def test_file_numbers_above_a_thousand(pool, worker):
    """A trainer with many open files: select() would refuse."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip("no more than 1200 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1030)]
    fresh = Pool()
    try:
        assert fresh.ask(*TWO_X, tolerance=0.0, seconds=60) is True
    finally:
        fresh.close()
        for each in opened:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_system_that_refuses_the_memory_limit(monkeypatch):
    resource = pytest.importorskip("resource")

    def refuse(*_):
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    _limit_memory()


def test_an_error_is_not_kept(monkeypatch):
    """What broke once, such as a process that could not be started, may work the next time."""

    def fails(*_, **__):
        raise OSError("no more processes")

    with monkeypatch.context() as patch:
        patch.setattr(Pool, "ask_timed", fails)
        broken = verify("\\cos 2x", "1-2\\sin^2 x", seconds=20)
        assert (broken.stage, broken.correct) == ("error", False)
        assert "no more processes" in broken.detail
    assert verify("\\cos 2x", "1-2\\sin^2 x", seconds=20).correct


def test_a_worker_that_was_killed_is_replaced(pool, worker):
    os.kill(worker, signal.SIGKILL)
    assert gone(worker, 5)
    assert pool.ask(*TWO_X, tolerance=0.0, seconds=60) is True


def test_an_odd_question_is_an_error_and_the_worker_stays(pool, worker):
    with pytest.raises(Failed, match="no number"):
        pool.ask(("set", ()), SIN, tolerance=0.0, seconds=60)
    assert worker in pids(pool)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_workers_of_its_own(pool, worker):
    child = os.fork()
    if child == 0:
        right = pool.ask(*TWO_X, tolerance=0.0, seconds=60) and worker not in pids(pool)
        pool.close()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.ask(*TWO_X, tolerance=0.0, seconds=60) is True
    assert worker in pids(pool)


def test_threads_share_two_workers(pool):
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(pool.ask, *TWO_X, tolerance=0.0, seconds=60) for _ in range(12)]
        assert all(each.result() for each in asked)
    assert len(pids(pool)) <= 2


def test_close_ends_the_workers(pool):
    before = pids(pool)
    assert before
    pool.close()
    assert all(gone(each, 2) for each in before)


PARENT = """
import sys
from fractions import Fraction
from grpokit_math.verify.pool import Pool
from grpokit_math.verify.grammar import parse
from grpokit_math.verify.tokens import tokenise

pool = Pool()
sin, cos = (parse(tokenise(text)) for text in ("\\\\sin x", "\\\\cos x"))
pool.ask(sin, cos, tolerance=0.0, seconds=60)
print(*(worker._process.pid for worker in pool._all), flush=True)
if sys.argv[1] == "busy":
    hangs = ("pow", ("num", Fraction(3)), ("num", Fraction(10**9)))
    pool.ask(hangs, sin, tolerance=0.0, seconds=2.0)
sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_workers_die_with_a_parent_that_is_killed(state):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        worker = int(parent.stdout.readline())
        assert lives(worker)
        if state == "busy":
            time.sleep(0.3)
        parent.kill()
    assert gone(worker, 6)


def test_a_verdict_of_a_timeout_is_not_kept():
    first = verify("\\sin x", "\\sin((x^{60}+1)^{60})+\\cos((x+2)^{61})", seconds=0.0)
    assert first.stage == "timeout"
    second = verify("\\sin x", "\\sin((x^{60}+1)^{60})+\\cos((x+2)^{61})", seconds=0.0)
    assert second is not first
    close()


def test_importing_starts_nothing_and_needs_no_sympy():
    code = (
        "import sys; from grpokit_math.verify import verify, _POOL\n"
        "assert verify('1/2', '0.5').correct and verify('5', '6').stage == 'number'\n"
        "assert not _POOL._all and 'sympy' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
