"""A callback that fails is reported once and never stops a run."""

from __future__ import annotations

from grpokit.engine.observer import Observer, Watchers


class Listener(Observer):
    def __init__(self) -> None:
        self.said: list[tuple[str, bool]] = []

    def say(self, text: str, *, warning: bool = False) -> None:
        self.said.append((text, warning))


class Counting:
    def __init__(self, fail_at: int = 0) -> None:
        self.calls = 0
        self.fail_at = fail_at

    def on_step(self, record: object, samples: object) -> None:
        self.calls += 1
        if self.calls == self.fail_at:
            raise RuntimeError("no network")


def test_one_callback_fails_and_the_others_go_on() -> None:
    listener, good, bad = Listener(), Counting(), Counting(fail_at=2)
    watchers = Watchers({"good": good, "bad": bad}, listener)
    for _ in range(5):
        watchers.call("on_step", None, None)
    assert (good.calls, bad.calls) == (5, 2)
    assert listener.said == [
        ("callback bad failed in on_step and is switched off: RuntimeError: no network", True)
    ]
