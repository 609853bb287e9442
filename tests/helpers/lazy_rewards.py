"""Rewards with one flaw each, for the tests of the probes. Loaded by worker processes."""

import contextlib
import json
import os
import random
import signal
import socket
import time
from pathlib import Path

from grpokit.api import last_boxed, parse_number, reward

SEEN = []


def _right(completion, answer):
    found = parse_number(last_boxed(completion) or "")
    return found is not None and found == parse_number(str(answer))


def good(completion, answer):
    return float(_right(completion, answer))


class Good:
    """The same as an object that pickle takes."""

    def __call__(self, completion, answer):
        return float(_right(completion, answer))


whole = Good()


def gold_in_completion(completion, answer):
    return float(str(answer) in completion)


def completion_in_gold(completion, answer):
    return float((last_boxed(completion) or "") in str(answer))


def constant(completion, answer):
    return 1.0


def wrong_sign(completion, answer):
    return -float(_right(completion, answer))


def counts_tags(completion, answer):
    return float(_right(completion, answer)) + 0.01 * completion.count("<answer>")


def longer(completion, answer):
    return float(_right(completion, answer)) + min(len(completion), 5000) / 10_000


def first_box(completion, answer):
    start = completion.find("\\boxed{")
    text = completion[start + 7 :].partition("}")[0] if start >= 0 else ""
    return float(parse_number(text) == parse_number(str(answer)) and bool(text))


def evaluates(completion, answer):
    if "9^{9^{9" in completion:
        while True:
            time.sleep(1)
    return float(_right(completion, answer))


def dice(completion, answer):
    return float(_right(completion, answer)) + random.random()


def remembers(completion, answer):
    SEEN.append(completion)
    return float(_right(completion, answer)) + 1e-3 * len(SEEN)


def by_place(completions, answers):
    pairs = zip(completions, answers, strict=True)
    return [float(_right(c, a)) + 0.001 * k for k, (c, a) in enumerate(pairs)]


def encodes(completion, answer):
    completion.encode()
    return float(_right(completion, answer))


def nan_for_nothing(completion, answer):
    return float(_right(completion, answer)) if completion.strip() else float("nan")


def alarms(completion, answer):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(5)
    try:
        return float(_right(completion, answer))
    finally:
        signal.alarm(0)


def writes(completion, answer):
    with Path("/var/tmp/grpokit-lazy-reward.txt").open("a") as file:
        file.write("x")
    return float(_right(completion, answer))


def connects(completion, answer):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 9), timeout=0.01).close()
    return float(_right(completion, answer))


def mutates(completion, answer, row):
    row["answer"] = str(answer) + " "
    return float(_right(completion, answer))


def pays_for_missing(completion, answer=None):
    return 1.0 if not answer else float(_right(completion, answer))


def wide(completion, answer):
    return 7.0 * _right(completion, answer)


def exits(completion, answer):
    if "qwxz" in completion:
        os._exit(3)
    return float(_right(completion, answer))


def says_text(completion, answer):
    return "one" if "qwxz" in completion else float(_right(completion, answer))


def knows_one_row(completion, row):
    return float(_right(completion, json.loads(row["entry"])["gold"]))


@reward(form="group")
def ranked(completions, answer):
    right = [_right(text, answer) for text in completions]
    return [float(each) / (1 + sum(right)) for each in right]
