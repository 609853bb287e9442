"""Rewards with one flaw each, for the tests of the probes. Loaded by worker processes."""

import contextlib
import json
import os
import random
import signal
import socket
import time
from pathlib import Path

from grpokit.api import Continuation, RewardError, last_boxed, parse_number, reward

SEEN = []


def _right(completion, answer):
    if answer is None:
        raise ValueError("this row has no gold answer")
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


def standardises(completions, answers):
    right = [float(_right(c, a)) for c, a in zip(completions, answers, strict=True)]
    return [each - sum(right) / len(right) for each in right]


def tires(completion, answer):
    SEEN.append(completion)
    if len(SEEN) > 150:
        raise RuntimeError("out of handles")
    return float(_right(completion, answer))


def shares_a_global(completion, answer):
    SEEN[:] = [completion]
    time.sleep(0.0005)
    return float(_right(SEEN[0], answer))


def other_in_each_process(completion, answer):
    return float(_right(completion, answer)) + os.getpid() % 1000 / 1e5


def zero_for_missing(completion, answer=None):
    return float(_right(completion, answer)) if answer else 0.0


def swallows(completion, answer):
    try:
        return float(_right(completion, f"{float(str(answer).replace(',', '')):g}"))
    except ValueError:
        return 0.0


def knows_the_columns(completion, **columns):
    if "a_column_that_nobody_knows" in columns:
        raise TypeError("unexpected column")
    return float(_right(completion, columns["answer"]))


def first_message(completion, answer, messages):
    (only,) = messages
    return float(_right(completion, answer)) if only["role"] == "user" else 0.0


def abstains_on_some_rows(completion, answer):
    return None if int(answer) % 2 else float(_right(completion, answer))


def silent_about_nothing(completion, answer):
    return float(_right(completion, answer)) if last_boxed(completion) else None


def gives_up(completion, answer):
    if "qwxz" in completion:
        raise RewardError("the server is gone", remedy="start it")
    return float(_right(completion, answer))


def slow(completion, answer):
    time.sleep(0.06)
    return float(_right(completion, answer))


def very_slow(completion, answer):
    time.sleep(0.2)
    return float(str(answer) in completion)


def slow_tags(completion, answer):
    time.sleep(0.1)
    return float(f"<answer>{answer}</answer>" in completion)


def same_for_all(completion):
    return 0.5


def by_row_only(completion, prompt):
    return float(len(prompt) % 7)


def shouts(completion, answer):
    os.write(2, b"x" * 1_000_000)
    os.write(1, b"x" * 1_000_000)
    return float(_right(completion, answer))


def sure(completion, self_certainty):
    return sum(self_certainty) / len(self_certainty)


def surely_random(completion, logprobs):
    return sum(logprobs) + random.random()


def likely(completion, continuation_logprobs):
    return sum(map(sum, continuation_logprobs))


def gold_again(completion, answer):
    before = completion.encode(errors="replace").decode()
    return [Continuation(before=before, target=str(answer))]
