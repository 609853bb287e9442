"""What begins anew in the course of a run: the policy, or the reference that it is held to.

The reference of an adapter is the model without it, until it is reset; then it is a copy of the
adapter, put in place of the present one for the time of a forward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from grpokit.api import CheckpointError, Recipe, derive_seed
from grpokit_hf.load import read_model
from grpokit_hf.parallel import Team
from grpokit_hf.policy import Policy

__all__ = ["check_fit", "copy_of", "first_weights", "put", "put_whole", "swapped"]


def copy_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are now."""
    return {name: weight.detach().clone() for name, weight in weights.items()}


def check_fit(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Both have the same names and shapes.

    Raises:
        CheckpointError: ``values`` are of another model or adapter; it names one weight.
    """
    odd = set(weights) ^ set(values)
    odd |= {
        name for name in weights if name not in odd and weights[name].shape != values[name].shape
    }
    if odd:
        raise CheckpointError(
            f"the saved reference policy does not fit the model ({min(odd)})",
            remedy="resume with the recipe of the run",
        )


def put(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Writes ``values`` into ``weights``; both have the same names and layout."""
    check_fit(weights, values)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(values[name])


def put_whole(team: Team, weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """The same with ``values`` that are whole, also where each process holds a part of the weights."""
    check_fit(weights, values)
    put(weights, {name: team.like(weight, values[name]) for name, weight in weights.items()})


@contextmanager
def swapped(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Iterator[None]:
    """``values`` in place of ``weights`` inside the block."""
    present = copy_of(weights)
    put(weights, values)
    try:
        yield
    finally:
        put(weights, present)


def first_weights(policy: Policy, recipe: Recipe) -> None:
    """Takes training back to its start: an adapter that does nothing, or the model as it was loaded.

    The random half of an adapter is drawn from the run's seed, each time the same.
    """
    team = policy.team
    if policy.adapter:
        with team.whole():  # what is written to whole weights is not kept
            fresh_adapter(policy, recipe.train.seed)
            values = copy_of(policy.weights) if team.sharded else {}
        if team.sharded:
            put_whole(team, policy.weights, values)
        return
    where = torch.device("cpu") if team.sharded else policy.device
    fresh = team.jointly(read_model, policy.folder, policy.dtype, policy.kernel, where)
    values = dict(fresh.named_parameters())
    put_whole(team, policy.weights, {name: values[name] for name in policy.weights})


def fresh_adapter(policy: Policy, seed: int) -> None:
    devices = [policy.device] if policy.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(derive_seed(seed, "lora", "again"))
        for module in policy.model.modules():
            again: Any = getattr(module, "reset_lora_parameters", None)
            if again is not None:
                again("default", init_lora_weights=True)
