"""Groups with every kind of totals."""

import random

import pytest

from grpokit.spec.flow import Completion, Prompt, Rollout, Sampling, Scores


@pytest.fixture
def scored_groups():
    """Two hundred groups of five: equal, mixed, nearly equal, and with completions that have no total."""
    lot = random.Random(3)
    kinds = [
        [1.0],
        [0.0, 1.0],
        [0.3, 0.1 + 0.2],
        [None, 0.5],
        [None],
        [0.0, 0.0, 0.0, 0.1],
        [None, 0.0, 1.0],
    ]
    table = [[lot.choice(lot.choice(kinds)) for _ in range(1)] * 5 for _ in range(60)]
    table += [[lot.choice(kind) for _ in range(5)] for kind in kinds * 20]
    one = Completion(token_ids=(1,), text="x", finish="stop")
    prompts = tuple(
        Prompt(id=f"p{p}", index=p, row={}, messages=({"role": "user", "content": "?"},))
        for p in range(len(table))
    )
    rollout = Rollout(
        prompts=prompts,
        prompt_ids=tuple((1,) for _ in prompts),
        completions=tuple((one,) * 5 for _ in prompts),
        sampling=Sampling(group=5, max_tokens=4),
    )
    return rollout, Scores(rewards={"r": table}, components={}, total=table)
