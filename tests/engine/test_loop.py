"""One step, without a model. Whole runs are in test_resume.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from grpokit.engine.loop import Loop
from grpokit.engine.observer import Observer
from grpokit.errors import NonFiniteError
from grpokit.scoring.budget import ErrorBudget
from grpokit.spec.flow import Advantages, Sampling, Scores
from grpokit.spec.recipe import PromptSection

SCORES = Scores(rewards={"r": [[1.0, 0.0]]}, components={}, total=[[1.0, 0.0]])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_advantages_that_are_not_finite_never_reach_the_update(value: float) -> None:
    advantages = Advantages(
        advantages_PG=torch.tensor([[value, 0.0]]),
        valid_PG=torch.ones(1, 2, dtype=torch.bool),
        dead_P=torch.zeros(1, dtype=torch.bool),
    )
    part: Any = SimpleNamespace
    loop = Loop(
        backend=part(generate=lambda *_: None),
        algorithm=part(advantages=lambda _: advantages),
        dataset=part(),
        order=part(step=lambda _: []),
        scorer=part(score=lambda *_: SCORES),
        budget=ErrorBudget(0.5),
        prompt=PromptSection(),
        sampling=Sampling(group=2, max_tokens=4),
        observer=Observer(),
        poll=lambda: None,
    )
    with pytest.raises(NonFiniteError, match="step 3: the algorithm made advantages"):
        loop.step(3)
