"""The walk through the data set: a pure function of (seed, position)."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

from grpokit.errors import PreflightError
from grpokit.spec.contracts import Dataset, Row
from grpokit.spec.seeds import derive_seed

__all__ = ["RowOrder"]

_ENDLESS = 2**31
_MAX_TRIES = 1000


class RowOrder:
    """The ``Walk`` of a run.

    A finite data set is walked in epochs, each a new permutation (or the file's order); a step
    that crosses the end of an epoch takes the rest from the next. An endless one is drawn from
    by hash of (seed, position). Rows that ``keep`` refuses never appear.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        seed: int,
        shuffle: bool = True,
        keep: Callable[[int], bool] | None = None,
    ) -> None:
        self.seed = seed
        self.dataset = dataset
        self.shuffle = shuffle
        self._keep = keep
        self._rows = _kept_rows(dataset, keep)
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    @property
    def size(self) -> int | None:
        """Rows of an epoch, those that ``keep`` refuses left out; None without an end."""
        return None if self._rows is None else len(self._rows)

    def at(self, position: int) -> int:
        """The row at ``position`` of the walk, from 0 on."""
        if self._rows is None:
            return self._endless(position)
        epoch, offset = divmod(position, len(self._rows))
        return self._epoch(epoch)[offset]

    def row(self, index: int) -> Row:
        """The columns of data set row ``index``."""
        return self.dataset[index]

    def epochs(self, position: int) -> float | None:
        """How many epochs lie behind ``position``; None for an endless data set."""
        return None if self._rows is None else position / len(self._rows)

    def _permutation(self, epoch: int) -> list[int]:
        rows = list(self._rows or ())
        if self.shuffle:
            random.Random(derive_seed(self.seed, "epoch", epoch)).shuffle(rows)  # noqa: S311
        return rows

    def _endless(self, position: int) -> int:
        if not self.shuffle and self._keep is None:
            return position
        for attempt in range(_MAX_TRIES):
            index = derive_seed(self.seed, "row", position, attempt) % _ENDLESS
            if self._keep is None or self._keep(index):
                return index
        raise PreflightError(
            f"{_MAX_TRIES} rows in a row have a prompt that is too long",
            remedy="raise rollout.max_prompt_tokens",
        )


def _kept_rows(dataset: Dataset, keep: Callable[[int], bool] | None) -> list[int] | None:
    if dataset.size is None:
        return None
    rows = [i for i in range(dataset.size) if keep is None or keep(i)]
    if not rows:
        raise PreflightError(
            "the data set has no row left to train on",
            remedy="check dataset.limit and rollout.max_prompt_tokens",
        )
    return rows
