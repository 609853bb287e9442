"""What a process tells the others, and what it cannot tell them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from grpokit.api import GrpokitError, OutOfMemoryError
from grpokit_trl.agree import agreed, heard


def trainer(count: int, *, sharded: bool) -> Any:
    return SimpleNamespace(
        accelerator=SimpleNamespace(num_processes=count), sharded=lambda: sharded
    )


def full() -> None:
    raise OutOfMemoryError("no memory left", remedy="buy some")


@pytest.mark.parametrize(("count", "alone"), [(1, False), (2, True)])
def test_with_shards_an_error_ends_its_process_at_once(count: int, alone: bool):
    """The others wait for its part of the weights: an exchange with them would wait for ever."""
    with pytest.raises(OutOfMemoryError) as error:
        agreed(trainer(count, sharded=True), full)
    assert error.value.alone == alone


def test_a_process_that_is_gone_is_a_sentence():
    with (
        pytest.raises(GrpokitError, match="another process of the run has ended") as error,
        heard(),
    ):
        raise RuntimeError("[gloo] Connection closed by peer")
    assert error.value.alone
