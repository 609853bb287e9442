"""What each run that draws ahead is watched by."""

from __future__ import annotations

import pytest
import torch

from two_models import Seen, drawing, two_models


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def nothing_draws_on():
    yield
    assert drawing() == []


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return two_models(monkeypatch)
