"""vLLM and the trainer on one GPU: vLLM keeps to its share, and gives it back while it sleeps.

    python docs/gpu/vllm_colocate_memory.py

Needs no network: the model is random, half a gigabyte. What must hold:

1. awake, vLLM takes its share (`memory: 0.3`) of the GPU: at least half of it, and not more than 5% beyond it;
2. asleep, it holds less than 5% of the GPU;
3. what it draws after waking is what it drew before, and generating does not take memory from step to step.

Prints one JSON line with the numbers; ends with 1 if one does not hold, with 77 without a CUDA device or
vLLM.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/helpers"))
SHARE = 0.3
SLACK = 0.05


def used() -> int:
    """Bytes in use on the device, by all processes."""
    import torch

    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return int(total - free)


def measure(folder: Path) -> dict[str, Any]:
    import torch

    from grpokit.api import Sampling
    from vllm_runs import asked, engine_of, gpu_recipe, opened

    prompts = asked(8)
    sampling = Sampling(group=8, max_tokens=128, seed=1, step=1)
    torch.zeros(1, device="cuda")
    total = torch.cuda.mem_get_info()[1]
    before = used()
    backend = opened(gpu_recipe(folder, lora=True, memory=SHARE, sleep=True))
    sampler = engine_of(backend)
    trainer = torch.cuda.memory_allocated()
    awake, asleep, drawn, seconds = [], [], [], []
    try:
        for _ in range(3):
            start = time.perf_counter()
            sampler.wake()
            awake.append((used() - before - trainer) / total)
            rollout = backend.generate(prompts, sampling)
            seconds.append(time.perf_counter() - start)
            drawn.append([c.token_ids for group in rollout.completions for c in group])
            asleep.append((used() - before - trainer) / total)
    finally:
        backend.close()
    return {
        "awake": awake,
        "asleep": asleep,
        "trainer": trainer / total,
        "equal": all(one == drawn[0] for one in drawn),
        "seconds": seconds,
    }


def main() -> int:
    import torch

    if not torch.cuda.is_available() or find_spec("vllm") is None:
        print("vllm_colocate_memory: there is no CUDA device, or vLLM is not installed")
        return 77
    from vllm_runs import write_gpu_model

    with tempfile.TemporaryDirectory() as scratch:
        found = measure(write_gpu_model(Path(scratch)))
    holds = (
        max(found["awake"]) < SHARE + SLACK
        and min(found["awake"]) > 0.5 * SHARE  # else there was nothing to give back
        and max(found["asleep"]) < SLACK
        and found["asleep"][-1] < found["asleep"][0] + 0.01
        and found["equal"]
    )
    device = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    print(json.dumps({"claim": "vllm_colocate_memory", "holds": holds, **device, **found}))
    return int(not holds)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
