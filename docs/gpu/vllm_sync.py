"""vLLM rollouts of the backend hf on a GPU: new weights arrive, by adapter and by reload.

    python docs/gpu/vllm_sync.py

Needs no network: the model is random, half a gigabyte. For an adapter handed over, an adapter written
into the weights, and all weights, what must hold:

1. vLLM's log-probs of its completions are those of the trainer (mean difference below 0.05 in bfloat16);
2. after the weights moved they are those of the moved weights, three times in a row, and those of before are
   not (more than 0.25 off);
3. the canary stops a generation where the engine kept the weights of before;
4. an engine that was killed is back with the present weights.

Prints one JSON line with the numbers and the seconds; ends with 1 if one does not hold, with 77 without a
CUDA device or vLLM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/helpers"))
MOST_GAP = 0.05
MOVED = 0.25
WAYS = {
    "adapter": {"lora": True},
    "adapter in the weights": {"lora": True, "sync": "reload"},
    "all weights": {"lora": False},
}


def measure(folder: Path, way: dict[str, Any]) -> dict[str, Any]:
    from grpokit.api import GrpokitError, Sampling
    from vllm_runs import asked, engine_of, gpu_recipe, opened, sampler_gap, shift

    prompts = asked(8)
    sampling = Sampling(group=8, max_tokens=128, seed=1, step=1)
    start = time.perf_counter()
    backend = opened(gpu_recipe(folder, **way))
    seconds = {"open": time.perf_counter() - start}
    try:
        rollout = backend.generate(prompts, sampling)
        gaps, moved = [sampler_gap(backend, rollout)], []
        start = time.perf_counter()
        backend.generate(prompts, sampling)
        seconds["generate"] = time.perf_counter() - start
        for version in range(3):
            shift(backend, 1.0 if way["lora"] else 0.2, version)
            moved.append(sampler_gap(backend, rollout))
            start = time.perf_counter()
            rollout = backend.generate(prompts, sampling)
            seconds["sync and generate"] = time.perf_counter() - start
            gaps.append(sampler_gap(backend, rollout))
        engine: Any = engine_of(backend)
        os.kill(engine.process.pid, signal.SIGKILL)
        gaps.append(sampler_gap(backend, backend.generate(prompts, sampling)))
        engine.load = ignored
        shift(backend, 5.0, 9)
        fired = False
        try:
            backend.generate(prompts, sampling)
        except GrpokitError as error:
            fired = "did not reach vLLM" in error.fact
    finally:
        backend.close()
    return {"gaps": gaps, "moved": moved, "canary": fired, "seconds": seconds}


def ignored(weights: Any) -> None:
    """A load that does nothing."""
    del weights


def main() -> int:
    import torch

    if not torch.cuda.is_available() or find_spec("vllm") is None:
        print("vllm_sync: there is no CUDA device, or vLLM is not installed")
        return 77
    from vllm_runs import write_gpu_model

    with tempfile.TemporaryDirectory() as scratch:
        folder = write_gpu_model(Path(scratch))
        found = {name: measure(folder, way) for name, way in WAYS.items()}
    holds = all(
        one["canary"]
        and all(gap < MOST_GAP for gap in one["gaps"])
        and all(gap > MOVED for gap in one["moved"])
        for one in found.values()
    )
    device = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    print(json.dumps({"claim": "vllm_sync", "holds": holds, **device, **found}))
    return int(not holds)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
