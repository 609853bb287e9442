"""Groups that are told of while others are drawn are those of the rollout."""

from __future__ import annotations

from typing import Any

import pytest

from grpokit.api import Announces, Completion, Sampling
from grpokit_hf.groups import Groups
from grpokit_hf.nn.decode import Drawn


@pytest.mark.parametrize("rows", [256, 5, 1])
def test_what_is_told_is_what_is_drawn(make_recipe, open_backend, make_prompts, rows: int):
    settings = {"threads": 1, "device": "cpu", "generate_rows": rows}
    backend = open_backend(make_recipe(backend={"with": settings}))
    assert isinstance(backend, Announces)
    sampling = Sampling(group=3, max_tokens=40, seed=3)
    told: dict[int, Any] = {}

    def take(p: int, group: tuple[Completion, ...]) -> None:
        assert p not in told
        told[p] = group

    with backend.announcing(take):
        rollout = backend.generate(make_prompts(), sampling)
    assert told == dict(enumerate(rollout.completions))
    told.clear()
    assert backend.generate(make_prompts(), sampling) == rollout
    assert told == {}


def test_rows_that_end_are_told_before_the_last_token(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe())
    sampling = Sampling(group=2, max_tokens=300, seed=1)
    moments: list[int] = []
    tokens = 0

    def poll() -> None:
        nonlocal tokens
        tokens += 1

    with backend.announcing(lambda *_: moments.append(tokens)):
        rollout = backend.generate(make_prompts(), sampling, poll)
    lengths = [max(len(one.token_ids) for one in group) for group in rollout.completions]
    assert moments == sorted(lengths)
    assert moments[0] < moments[-1]


def test_a_group_is_told_once():
    told: list[tuple[int, tuple[Any, ...]]] = []
    groups = Groups(2, lambda p, group: told.append((p, group)), lambda drawn: drawn)  # type: ignore[arg-type, return-value]
    first, again, second = Drawn(), Drawn(), Drawn()
    groups.ended((4, 1), first)
    groups.ended((4, 1), again)  # drawn once more, after memory ran out
    assert told == []
    groups.part([(4, 1), (4, 0)], [again, second])
    assert told == [(4, (second, first))]
