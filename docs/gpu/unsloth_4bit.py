"""The backend unsloth on weights of 4 bits: less memory, and still our loss on what was sampled.

    python docs/gpu/unsloth_4bit.py

Run it in Unsloth's environment, with bitsandbytes; vLLM is used if it is there (it reads 4 bits with the package
vllm-bnb-plugin). Needs no network. What must hold:

1. the frozen weights are held in 4 bits, and take less than half of the bytes that they take in 16;
2. sampler and trainer agree on the rounded weights (mean difference of log-probs below 0.1);
3. after an update that moves the policy far the sampler draws from the moved policy;
4. three updates are finite, and the same seeds draw the same completions.

Prints one JSON line with the numbers; ends with 1 if one does not hold, with 77 without a CUDA device or Unsloth.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from unsloth_fast_inference import apart, holds, measure, missing, write_model

MOST_GAP = 0.1


def run(folder: str, bits: int) -> dict[str, Any]:
    settings = {"load_in_4bit": bits == 4, "gpu_memory_utilization": 0.3}
    found: dict[str, Any] = apart(__file__, "--measure", folder, json.dumps(settings))
    del found["first"]
    return found


def main() -> int:
    import torch

    if missing("unsloth_4bit", "unsloth", "bitsandbytes"):
        return 77
    with tempfile.TemporaryDirectory() as scratch:
        write_model(Path(scratch))
        four, sixteen = run(scratch, 4), run(scratch, 16)
    numbers = [step[name] for step in four["steps"] for name in ("loss", "grad_norm")]
    good = (
        four["four_bit"]
        and not sixteen["four_bit"]
        and holds(four, MOST_GAP, farther=5.0)
        and all(math.isfinite(number) for number in numbers)
        and four["frozen_bytes"] < 0.5 * sixteen["frozen_bytes"]
    )
    device = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    line = {"claim": "unsloth_4bit", "holds": good, **device, "four": four, "sixteen": sixteen}
    print(json.dumps(line))
    return int(not good)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    match sys.argv[1:]:
        case ["--measure", folder, text]:
            print(json.dumps(measure(Path(folder), json.loads(text))))
        case _:
            sys.exit(main())
