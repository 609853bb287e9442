"""One step in bfloat16 on a GPU: hf against trl and unsloth, on the same completions.

    python docs/gpu/parity_bf16.py --unsloth-python PATH/bin/python

The frozen weights are bfloat16, the adapter float32; attention differs from backend to backend. So it is not
bits that must agree: advantages and selected rows exactly, log-probs on average, loss and gradient norm within
some percent. Unsloth is measured in the environment whose Python is given, because importing it changes
transformers. Prints one JSON line; ends with 1 if a difference is too large or Unsloth was left out, with 77
without a CUDA device.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/helpers"))

import parity  # noqa: E402

LIMITS = {
    "advantages": 0.0,
    "selected": 0.0,
    "logprobs_mean": 0.05,
    "loss": 0.05,
    "grad_norm": 0.1,
}
WITH: dict[str, dict[str, Any]] = {
    "hf": {"device": "cuda"},
    "trl": {"device": "cuda"},
    "unsloth": {"device": "cuda", "fast_inference": False},
}


def measure(backend: str, folder: Path, python: str) -> dict[str, Any]:
    changes = {
        "model": {"dtype": "bfloat16"},
        "optim": {
            "iterations": 1
        },  # a second one would start from weights that rounding has parted
        "backend": {"with": WITH[backend]},
    }
    return parity.run(backend, list(parity.ALGORITHMS), folder, python, changes)


def first(found: dict[str, Any]) -> dict[str, list[float]]:
    """Row -> log-probs before the first update."""
    return {row: seen[0]["new"] for row, seen in found["logprobs"].items()}


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    mine, its = first(ours), first(theirs)
    gaps = [abs(a - b) for row in mine for a, b in zip(mine[row], its[row], strict=True)]
    return {
        "advantages": parity.gap(ours["advantages"], theirs["advantages"]),
        "selected": parity.gap(ours["selected"], theirs["selected"]),
        "logprobs_mean": statistics.fmean(gaps),
        "logprobs_max": max(gaps),
        "loss": abs(ours["loss"] - theirs["loss"]),
        "grad_norm": abs(ours["grad_norm"] - theirs["grad_norm"]) / ours["grad_norm"],
        "weights": parity.gap(ours["weights"], theirs["weights"]),
    }


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unsloth-python", default="")
    wanted = parser.parse_args()
    if not torch.cuda.is_available():
        print("parity_bf16: there is no CUDA device")
        return 77
    pythons = {"trl": sys.executable, "unsloth": wanted.unsloth_python}
    with tempfile.TemporaryDirectory() as scratch:
        folder = parity.prepare(Path(scratch))
        ours = measure("hf", folder, sys.executable)
        found: dict[str, dict[str, dict[str, float]]] = {}
        for backend, python in pythons.items():
            if python:
                theirs = measure(backend, folder, python)
                found[backend] = {name: differences(ours[name], theirs[name]) for name in ours}
    tables = [table for names in found.values() for table in names.values()]
    left_out = [backend for backend in pythons if backend not in found]
    close = all(table[name] <= most for table in tables for name, most in LIMITS.items())
    holds = close and not left_out
    device = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    line = {"claim": "parity_bf16", "holds": holds, **device, "left_out": left_out}
    print(json.dumps({**line, "differences": found}))
    return int(not holds)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
