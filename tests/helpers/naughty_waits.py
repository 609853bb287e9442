"""A module of rewards whose import does not end in time."""

import time

time.sleep(60)


def one(completion):
    return 1.0
