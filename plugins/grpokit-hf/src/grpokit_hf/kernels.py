"""Which attention kernel a model gets. Importing this imports no torch: a plan asks it too."""

from __future__ import annotations

import logging
import os
import shutil
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.api import PreflightError

if TYPE_CHECKING:
    import torch

__all__ = ["compiles", "pick_kernel", "settle", "wide_enough"]

log = logging.getLogger("grpokit.hf")

NARROWEST = 16
"""Width of a head from which torch's GPU kernel takes it."""


def pick_kernel(wanted: str, device: str, *, train: bool = False, sharded: bool = False) -> str:
    """The kernel for this device; what ``auto`` takes was tried nowhere where weights are divided."""
    if wanted != "auto":
        return wanted
    if device == "cpu":
        return "float32"
    return "flex" if train and not sharded and compiles() else "sdpa"


@cache
def compiles() -> bool:
    """Whether torch has flex attention, and Triton what it needs to compile it. Starts nothing."""
    torch_spec, triton_spec = find_spec("torch"), find_spec("triton")
    if torch_spec is None or triton_spec is None or torch_spec.origin is None:
        return False
    has = (Path(torch_spec.origin).parent / "nn" / "attention" / "flex_attention.py").is_file()
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return has and compiler is not None and header.is_file()


def wide_enough(config: Any, device: str) -> bool:
    """Whether the heads are wide enough for the kernel of this device."""
    return device == "cpu" or head_shape(config)[2] >= NARROWEST


def head_shape(config: Any) -> tuple[int, int, int]:
    """Query heads, key heads, and the width of a head."""
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    shared = int(getattr(text, "num_key_value_heads", None) or heads)
    width = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    return heads, shared, width


def settle(wanted: str, config: Any, dtype: torch.dtype, device: torch.device) -> str:
    """``flex``, or ``sdpa`` where `auto` took flex and it does not compute what it should here.

    It is compiled on this machine for this GPU, so it is tried before anything depends on it.
    """
    if device.type == "cpu" or not wide_enough(config, device.type):
        return "flex"  # spread out on a CPU; too narrow heads are computed in whole rows
    from grpokit_hf.nn.flex_check import difference

    try:
        fact = difference(*head_shape(config), dtype, device)
    # The border to foreign code: Triton, its C compiler and the driver may raise anything.
    except Exception as error:  # noqa: BLE001
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        fact = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    if fact is None:
        return "flex"
    if wanted == "flex":
        raise PreflightError(
            f"flex attention does not work on this GPU: {fact}",
            place="backend.with.attention",
            remedy="set backend.with.attention: sdpa",
        )
    log.warning(
        "flex attention does not work on this GPU, so whole padded rows are computed: %s", fact
    )
    return "sdpa"
