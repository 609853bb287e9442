"""The environment of vLLM's process: its own settings, quiet, and nothing of the run's launcher."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["host_environment"]

LAUNCHER = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "ROLE_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)
"""vLLM would take these for its own; each rank has a vLLM of its own."""
ELASTIC = "TORCHELASTIC_"
"""Beginning of more of them: with one, torch looks for a store that the launcher has opened."""


def host_environment(
    environ: Mapping[str, str],
    *,
    cuda: int | None,
    threads: int,
    cache: int,
    processes: bool,
) -> dict[str, str]:
    """What the process gets. A variable that the user set stays as it is.

    Args:
        environ: the run's own environment.
        cuda: the GPU's index in this process; None on a CPU.
        threads: OpenMP threads on a CPU. The run waits while vLLM computes, so it gets them all.
        cache: GiB for keys and values on a CPU.
        processes: vLLM puts its workers into processes of their own (several GPUs).
    """
    found = {
        name: value
        for name, value in environ.items()
        if name not in LAUNCHER and not name.startswith(ELASTIC)
    }
    wanted = {
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "TQDM_DISABLE": "1",
        # One process for all: it starts in half the time, and its death is seen at once.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1" if processes else "0",
    }
    if cuda is None:
        wanted |= {
            "VLLM_CPU_KVCACHE_SPACE": str(cache),
            "OMP_NUM_THREADS": str(threads),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            # Compiling a handful of small functions takes longer than they save here.
            "TORCHDYNAMO_DISABLE": "1",
            # As for the run itself: threads that spin at a barrier starve the others on a busy machine.
            "GOMP_SPINCOUNT": "2000",
        }
    else:
        visible = [name for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        found["CUDA_VISIBLE_DEVICES"] = visible[cuda] if cuda < len(visible) else str(cuda)
        if processes:
            found["CUDA_VISIBLE_DEVICES"] = environ.get("CUDA_VISIBLE_DEVICES", "")
            if not found["CUDA_VISIBLE_DEVICES"]:
                del found["CUDA_VISIBLE_DEVICES"]
    return {**wanted, **found}
