"""The backend hf on two GPUs, by DDP and by FSDP2: one GPU's gradients, less memory, and an end in common.

    python docs/gpu/fsdp2_two_gpus.py [--rehearse]

Needs no network: the models are random. What must hold:

1. gradients, weights and metrics of two GPUs are those of one (float32, relative difference below 1e-4), for
   LoRA and for whole models, with several optimiser steps and a reference;
2. with FSDP2 a process keeps less than 60 % of the bytes of weights that it keeps with DDP, and its peak in an
   update of a whole model is lower;
3. sampling with FSDP2, all weights gathered, takes at most twice the time of DDP;
4. a process whose memory runs out inside a forward under FSDP2 says so and ends within 120 s, though the other
   one waits for it in NCCL (`grpokit train` then ends that one).

Prints one JSON line with the numbers; ends with 1 if one does not hold, with 77 without two CUDA devices.
``--rehearse`` does it all with small models over gloo on a CPU, to try the script itself.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HELPERS = ROOT / "tests/helpers"
sys.path.insert(0, str(HELPERS))
GAP, KEPT, SLOWER, WAIT = 1e-4, 0.6, 2.0, 120.0
SHAPES = {
    "cuda": {"hidden_size": 2048, "num_hidden_layers": 24, "intermediate_size": 5632},
    "cpu": {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 256},
}


def write_models(folder: Path, device: str) -> None:
    """A tiny one for numbers, and one of 1.1 billion weights (on a CPU a small one) for sizes and times."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tiny_model import CHATML, write_tiny_model, write_tokenizer

    write_tiny_model(folder / "tiny", kind="qwen2", seed=3)
    config = LlamaConfig(
        **SHAPES[device],
        vocab_size=32000 if device == "cuda" else 256,
        num_attention_heads=16,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "large")
    write_tokenizer(
        folder / "large", eos="<|im_end|>", pad="<|endoftext|>", template=CHATML, adds_bos=False
    )


def run(jobs: dict[str, Any], folder: Path, processes: int) -> Path:
    """The jobs in so many processes; their results lie in the folder."""
    codes = [worker.wait() for worker in start(jobs, folder, processes)]
    if any(codes):
        sys.exit("\n".join((folder / f"log-{rank}").read_text() for rank in range(processes)))
    return folder


def start(jobs: dict[str, Any], folder: Path, processes: int) -> list[subprocess.Popen[bytes]]:
    folder.mkdir()
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [
        sys.executable,
        str(HELPERS / "team_jobs.py"),
        str(folder / "jobs.json"),
        str(folder),
    ]
    workers = []
    for rank in range(processes):
        with (folder / f"log-{rank}").open("wb") as log:
            environ = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            workers.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))  # noqa: S603
    return workers


def gaps(folder: Path, device: str) -> dict[str, float]:
    """The largest relative difference between two processes and one, by kind."""
    import torch
    from safetensors.torch import load_file

    kinds: dict[str, Any] = {"lora": {"rank": 4, "alpha": 8.0}, "full": None}
    base = {
        "kind": "train",
        "model": str(folder / "tiny"),
        "device": device,
        "rows": [12, 1],
        "optim": {"iterations": 2, "minibatches": 2},
    }
    jobs = {
        f"{how}-{name}": {**base, "parallel": how, "lora": lora}
        for how in ("ddp", "fsdp")
        for name, lora in kinds.items()
    }
    one, two = run(jobs, folder / "one", 1), run(jobs, folder / "two", 2)
    found = {}
    for name in jobs:
        left = load_file(two / f"{name}-0.safetensors")
        other = load_file(two / f"{name}-1.safetensors")
        right = load_file(one / f"{name}-0.safetensors")
        assert all(torch.equal(left[key], other[key]) for key in right), f"{name}: weights differ"
        assert set(left) == set(right), f"{name}: different names"
        found[name] = float(
            torch.stack(
                [
                    (left[key] - value).abs().max() / value.abs().max().clamp(min=1e-2)
                    for key, value in right.items()
                ]
            ).max()  # a tensor's max is NaN where one is, Python's is not
        )
    return found


def sizes(folder: Path, device: str) -> dict[str, Any]:
    """Memory and time of a large model, for both ways."""
    base = {"kind": "measure", "model": str(folder / "large"), "device": device, "lora": None}
    jobs = {how: {**base, "parallel": how} for how in ("ddp", "fsdp")}
    jobs |= {
        f"{how}-lora": {**job, "lora": {"rank": 16, "alpha": 32.0}} for how, job in jobs.items()
    }
    found = {}
    for name, job in jobs.items():  # in processes of their own: a peak counts from the start
        place = run({name: job}, folder / f"size-{name}", 2)
        found[name] = json.loads((place / f"{name}-0.json").read_text())
    return found


def failure(folder: Path, device: str) -> dict[str, Any]:
    """Memory runs out inside a forward of process 1; how long it takes to end, and what it says."""
    job = {"kind": "end", "model": str(folder / "tiny"), "device": device, "parallel": "fsdp"}
    place = folder / "end"
    workers = start({"end": job}, place, 2)
    begin = time.monotonic()
    try:
        workers[1].wait(WAIT)
        seconds = time.monotonic() - begin  # with the time that loading takes
        told = json.loads((place / "end-1.json").read_text())["told"][0]
    except subprocess.TimeoutExpired:
        seconds, told = WAIT, ""
    with suppress(subprocess.TimeoutExpired):
        workers[0].wait(20)
    other = workers[0].poll() is not None
    for worker in workers:
        worker.kill()
    return {"seconds": round(seconds, 1), "told": told, "other_ended_by_itself": other}


def main() -> int:
    import torch

    rehearse = "--rehearse" in sys.argv
    if not rehearse and torch.cuda.device_count() < 2:
        print("two CUDA devices are needed; torch sees", torch.cuda.device_count())
        return 77
    device = "cpu" if rehearse else "cuda"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder, device)
        result: dict[str, Any] = {"torch": torch.__version__, "device": device}
        result["gaps"] = gaps(folder, device)
        result["sizes"] = sizes(folder, device)
        result["failure"] = failure(folder, device)
        if not rehearse:
            result["device"] = torch.cuda.get_device_name()
    ddp, fsdp = result["sizes"]["ddp"], result["sizes"]["fsdp"]
    holds = {
        "gaps": all(gap < GAP for gap in result["gaps"].values()),
        "kept": fsdp["kept"] < KEPT * ddp["kept"],
        "peak": rehearse or fsdp["peak"] < ddp["peak"],
        "sampling": rehearse or fsdp["ms_a_token"] < SLOWER * ddp["ms_a_token"],
        "failure": "does not fit in memory" in result["failure"]["told"]
        and result["failure"]["seconds"] < WAIT,
    }
    print(json.dumps({**result, "holds": holds}))
    return 0 if all(holds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
