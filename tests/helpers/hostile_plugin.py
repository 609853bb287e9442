"""The code of a plugin whose rewards do to a run what rewards must not do. Text: tests install it."""

from __future__ import annotations

from pathlib import Path

from dists import install

__all__ = ["hostile_plugin"]

HOOKS = """
from grpokit.api import CallbackSpec, RewardSpec, hookimpl

GRPOKIT_HOOK_API = 1

@hookimpl
def grpokit_rewards():
    names = ("acts", "later", "batch")
    return [RewardSpec(name=n, summary="", target=f"grpokit_hostile.rewards:{n}") for n in names]

@hookimpl
def grpokit_callbacks():
    return [CallbackSpec(name="peak", summary="", target="grpokit_hostile.peak:Peak")]
"""

PEAK = '''
import resource


class Peak:
    """Writes the most memory that the trainer ever had, in MB."""

    def on_start(self, run, recipe):
        pass

    def on_step(self, record, samples):
        pass

    def on_end(self, run):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        (run / "peak").write_text(str(peak))
'''

REWARDS = r'''
import ctypes
import itertools
import json
import os
import re
import signal
import sys
import threading
import time
from decimal import Decimal
from fractions import Fraction

from grpokit.api import Score

KEPT = []


def acts(completion, sample, tokens, act):
    """The second completion of a group does what the data set's row says; no trial of a plan does."""
    return ACTS[act]() if sample == 1 and tokens is not None else 1.0


def later(completion, tokens, act, when):
    """Does it from the given call on, to every completion."""
    KEPT.extend([None] * (tokens is not None))
    return ACTS[act]() if len(KEPT) > when else 1.0


def batch(completions, samples, acts):
    if "exit" in acts:
        os._exit(3)
    return [1.0] * len(completions)


def raises(error):
    raise error


def forges():
    lines = "".join(f'{{"unit": {n}, "outcomes": [9.0]}}\n' for n in range(99))
    for number in range(3, 30):
        try:
            os.write(number, lines.encode())
        except OSError:
            pass
    return 1.0


def daemonises():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
    os.wait()
    return 0.5


def replaces_json():
    json.dumps = json.loads = None
    return 0.5


def loses_its_module():
    os.rename(__file__, f"{__file__}.lost")
    os._exit(1)


def backtracks():
    re.match(r"(a|aa)+$", "a" * 80 + "b")  # in C, with the interpreter's lock, for ages


def sleeps_on():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(3600)


def forks_and_exits():
    if os.fork() == 0:
        time.sleep(3600)  # holds every pipe of its parent open
    os._exit(9)


def in_thread(work, wait):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(wait)
    return 0.5


def grows():
    held = []
    while True:
        held.append(bytearray(1 << 24))


def leaks():
    for _ in range(100):
        KEPT.append(bytearray(1 << 24))
    return 1.0


def prints():
    block = b"x" * (1 << 20)
    for number in range(1024):
        os.write(1 + number % 2, block)
    print("y" * (1 << 24))
    return 0.5


def writes_everywhere():
    for number in range(3, 30):
        try:
            os.write(number, b"{}\n[1]\nnonsense\n")
        except OSError:
            pass
    return 1.0


def closes():
    for number in range(3):
        os.close(number)
    return 0.5


class Liar:
    @property
    def shape(self):
        raise RuntimeError("no shape for you")


class Quits(float):
    def __float__(self):
        sys.exit(1)


class Mute(RuntimeError):
    def __str__(self):
        raise ValueError("I do not say it")


class Breaks(float):
    def __float__(self):
        raise ZeroDivisionError("not a number after all")


async def awaits():
    return 0.5


ACTS = {
    "raises": lambda: raises(ValueError("I do not like it\n\x1b[31m")),
    "raises a novel": lambda: raises(ValueError("n" * (1 << 22))),
    "raises SystemExit": lambda: sys.exit("bye"),
    "raises StopIteration": lambda: next(iter(())),
    "recurses": lambda: ACTS["recurses"](),
    "sys.exit in a thread": lambda: in_thread(sys.exit, 1),
    "raises in a thread": lambda: in_thread(lambda: 1 / 0, 1),
    "os._exit": lambda: os._exit(0),
    "os._exit in a thread": lambda: in_thread(lambda: os._exit(5), 60),
    "kills itself": lambda: os.kill(os.getpid(), 9),
    "crashes in C": lambda: ctypes.string_at(0),
    "forks and exits": forks_and_exits,
    "loses its module": loses_its_module,
    "writes what looks like answers": forges,
    "forks, and the child returns too": lambda: 0.5 if os.fork() else 9.0,
    "leaves a daemon": daemonises,
    "replaces json.dumps": replaces_json,
    "raises what cannot be told": lambda: raises(Mute()),
    "a number that exits": Quits,
    "loops": lambda: [None for _ in itertools.count() if False],
    "hangs in a C call": lambda: pow(7, 10**9),
    "backtracks in re": backtracks,
    "sleeps, all signals ignored": sleeps_on,
    "eats memory": grows,
    "asks for a terabyte": lambda: bytearray(1 << 40),
    "leaks memory": leaks,
    "prints a gigabyte": prints,
    "writes into every descriptor": writes_everywhere,
    "closes its streams": closes,
    "uses torch": lambda: __import__("torch").ones(3).mean(),
    "None": lambda: None,
    "NaN": lambda: float("nan"),
    "infinity": lambda: -1e999,
    "an integer of a million digits": lambda: 10**1_000_000,
    "text": lambda: "1.0",
    "bytes": lambda: b"1.0",
    "a list": lambda: [1.0],
    "a dict": lambda: {"score": 1.0},
    "a complex number": lambda: 1 + 0j,
    "a generator": lambda: (x for x in [1.0]),
    "a function": lambda: float,
    "an object that raises": Liar,
    "a number that raises": Breaks,
    "a Score with a NaN part": lambda: Score(value=0.5, components={"tone": float("nan")}),
    "a Score of 1,000 parts": lambda: Score(value=0.5, components={str(n): 0.0 for n in range(1000)}),
    "a Score with odd parts": lambda: Score(value=0.5, components=7),
    "a Score with a note of 4 MB": lambda: Score(value=0.5, note="n" * (1 << 22)),
    "a coroutine": awaits,
    "True": lambda: True,
    "a Fraction or Decimal": lambda: Decimal(float(Fraction(1, 2))),
}
'''


def hostile_plugin(folder: Path) -> None:
    """Installs the distribution grpokit-hostile 6.6 into a folder that is to stand on the path."""
    files = {"rewards.py": REWARDS, "peak.py": PEAK}
    install(folder, "grpokit-hostile", HOOKS, version="6.6", files=files)
