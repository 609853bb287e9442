"""Scorers over the rewards of ``naughty_rewards``, in real worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from grpokit.scoring.scorer import RewardSetup, Scorer
from naughty import children, naughty


@pytest.fixture
def earlier() -> set[int]:
    """Child processes that other tests have left, such as a tracker of semaphores."""
    return children()


@pytest.fixture
def make() -> Iterator[Callable[..., Scorer]]:
    """Builds scorers; they are closed at the end, and then no child process may be left."""
    before = children()
    made: list[Scorer] = []

    def build(*rewards: str | RewardSetup, timeout: float = 5.0, isolate: bool = True) -> Scorer:
        setups = [naughty(item) if isinstance(item, str) else item for item in rewards]
        made.append(Scorer(setups, timeout=timeout, isolate=isolate))
        return made[-1]

    yield build
    for scorer in made:
        scorer.close()
    assert children() <= before
