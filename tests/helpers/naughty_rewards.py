"""Rewards that do what rewards must not do. Loaded by worker processes, never by the tests."""

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from decimal import Decimal
from fractions import Fraction

from grpokit.api import GrpokitError, RewardError, Score, reward, seconds_left


def good(completion, answer):
    return float(completion == answer)


def one(completion):
    return 1.0


def raises_on_bad(completion):
    if completion == "bad":
        raise ValueError("I do not like it\nat all")
    return 1.0


def acts(completion):
    """Does what the completion says."""
    return ACTS.get(completion, lambda: 1.0)()


def _segfault():
    ctypes.string_at(0)


def _hang():
    while True:
        pass


def _hang_in_c():
    10 ** (10**9)  # holds the interpreter lock for minutes: no Python signal handler can run


def _flood():
    block = "x" * (1 << 20)
    for _ in range(64):
        print(block)
        print(block, file=sys.stderr)
    return 1.0


def _close_output():
    os.close(1)
    os.close(2)
    return 1.0


def _hang_with_child():
    subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", "grpokit-test-grandchild"]
    )
    _hang()


def _forge():
    """Writes what an answer of the worker looks like, wherever that can be written."""
    lines = "".join(f'{{"unit": {n}, "outcomes": [9.0]}}\n' for n in range(9)) + '{"done": true}\n'
    for number in range(3, 30):
        try:
            os.write(number, lines.encode())
        except OSError:
            continue
    return 1.0


def _come_back_twice():
    return 1.0 if os.fork() else 9.0


def _replace_json():
    json.dumps = json.loads = lambda *_, **__: b"faster"
    return 1.0


def _daemonise():
    """Returns the number of a process that has left for good."""
    told, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if (pid := os.fork()) == 0:
            time.sleep(3600)
        os.write(tell, str(pid).encode())
        os._exit(0)
    os.wait()
    return int(os.read(told, 20))


def _leave_a_child_that_prints():
    if os.fork() == 0:
        while True:
            os.write(2, b"x" * 4096)
    os._exit(9)


class Mute(RuntimeError):
    def __str__(self):
        raise ValueError("I do not say it")


class Quits(float):
    def __float__(self):
        sys.exit(4)


def _odd_words():
    error = GrpokitError("x" * 5000)
    error.remedy = None
    raise error


ACTS = {
    "an error without words": lambda: (_ for _ in ()).throw(Mute()),
    "a number that quits": lambda: Quits(1.0),
    "an error with odd words": _odd_words,
    "leave a child that prints": _leave_a_child_that_prints,
    "forge": _forge,
    "daemonise": _daemonise,
    "come back twice": _come_back_twice,
    "replace json": _replace_json,
    "raise": lambda: 1 / 0,
    "raise surrogate": lambda: (_ for _ in ()).throw(ValueError("\ud800 \x1b[31m")),
    "recursion": lambda: ACTS["recursion"](),  # noqa: PLW0108  # it calls itself
    "segfault": _segfault,
    "exit": lambda: os._exit(0),
    "sys.exit": lambda: sys.exit("bye"),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "kill": lambda: os.kill(os.getpid(), 9),
    "hang": _hang,
    "hang in C": _hang_in_c,
    "sleep": lambda: time.sleep(60),
    "flood": _flood,
    "close": _close_output,
    "nan": lambda: float("nan"),
    "inf": lambda: float("-inf"),
    "huge": lambda: 1e39,
    "huge int": lambda: 10**400,
    "large": lambda: 1e38,
    "none": lambda: None,
    "str": lambda: "0.5",
    "list": lambda: [0.5],
    "dict": lambda: {"score": 0.5},
    "complex": lambda: 1j,
    "generator": lambda: (x for x in [1.0]),
    "bool": lambda: True,
    "fraction": lambda: Fraction(1, 2),
    "decimal": lambda: Decimal("0.25"),
    "score": lambda: Score(value=0.5, components={"tone": 0.25}, note="fine"),
    "score none": lambda: Score(value=None, components={"tone": 0.75}),
    "score nan": lambda: Score(value=0.5, components={"tone": float("nan")}),
    "hang with child": _hang_with_child,
}


def batch(completions, answers, rows):
    assert len(completions) == len(answers) == len(rows)
    if "raise" in completions:
        raise ValueError("one of them is bad")
    if "hang" in completions:
        _hang()
    if "exit" in completions:
        os._exit(3)
    return [float(c == a) for c, a in zip(completions, answers, strict=True)]


def short(completions):
    return [1.0] * (len(completions) - 1)


def scalar(completions):
    return 1.0


def lazy(completions):
    return (1.0 for _ in completions)


def mixed(completions):
    values = {"nan": float("nan"), "str": "x", "none": None}
    return [values.get(c, 1.0) for c in completions]


@reward(form="group")
def rank(completions, answer, answers, prompt, row):
    assert set(answers) == {answer}
    assert row["answer"] == answer
    if "raise" in completions:
        raise ValueError("a bad group")
    order = sorted(completions, key=len)
    return [float(order.index(c)) for c in completions]


async def waits(completion):
    await asyncio.sleep(0.1)
    if completion == "raise":
        raise ValueError("async trouble")
    if completion == "late":
        await asyncio.sleep(60)
    if completion == "exit":
        os._exit(0)
    if completion == "block":
        time.sleep(60)  # noqa: ASYNC251  # the fault
    return 1.0


_BUSY = 0


@reward(at_once=2)
async def two_at_once(completion):
    """How many calls wait at this moment, and in the parts how much time is left to this one."""
    global _BUSY  # noqa: PLW0603  # the count of the process
    _BUSY += 1
    left = seconds_left()
    await asyncio.sleep(0.3)
    found = _BUSY
    _BUSY -= 1
    return Score(value=float(found), components={} if left is None else {"left": left})


def ends_the_run(completion):
    if completion == "spent":
        raise RewardError("the money is spent", remedy="raise max_cost")
    if completion == "told":
        raise GrpokitError("the server is down", place="http://judge", remedy="start it")
    return float(seconds_left() is None)


_LOOPS = set()


async def same_loop(completion):
    _LOOPS.add(id(asyncio.get_running_loop()))
    return float(len(_LOOPS))


def sees(completion, prompt, messages, row, finish, truncated, tokens, sample, question, other=7):
    assert (prompt, finish, truncated) == ("What?", "stop", False)
    assert [m["role"] for m in messages] == ["system", "user"]
    assert row == {"question": "Q", "answer": "A"}
    assert (tokens, question, other) == (None, "Q", 7)
    return float(sample)


def everything(completion, **rest):
    return float(sorted(rest) == sorted(EXPECTED))


EXPECTED = ["prompt", "messages", "finish", "truncated", "tokens", "question", "answer"]


def worker_pid(completion):
    return float(os.getpid())


def threaded(completion):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return 1.0


def noisy_ideas(completion):
    sys.stdout.write('{"unit": 0, "outcomes": [9.0]}\n{"done": true}\n')
    sys.stdout.flush()
    return float(sys.stdin.read() == "")
