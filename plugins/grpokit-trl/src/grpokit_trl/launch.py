"""An ``accelerate`` configuration becomes the environment that ``accelerate launch`` would set.

The processes themselves are started by ``grpokit train --processes``; what is left to do is FSDP,
DeepSpeed and the like. The type of numbers stays the recipe's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grpokit.api import PreflightError

__all__ = ["NAMES", "apply", "check_shards", "find", "sharding"]

NAMES = ("fsdp1", "fsdp2", "multi_gpu", "single_gpu", "zero1", "zero2", "zero3")
PREFIXES = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_")
OURS = ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_CPU")


def find(name: str) -> Path:
    """The configuration's file; a name that TRL ships, or a path.

    Raises:
        PreflightError: there is neither.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    spec = find_spec("trl")
    folder = Path(spec.origin).parent / "accelerate_configs" if spec and spec.origin else None
    if folder is not None and name in NAMES and (folder / f"{name}.yaml").is_file():
        return folder / f"{name}.yaml"
    raise PreflightError(
        f"there is no accelerate configuration {name!r}",
        place="backend.with.accelerate_config",
        remedy=f"give a YAML file that `accelerate config` wrote, or one of {', '.join(NAMES)}",
    )


def sharding(asked: Mapping[str, str], args: Mapping[str, Any]) -> str:
    """Whether weights are to be cut into shards, and by what; empty if not."""
    if asked.get("ACCELERATE_USE_DEEPSPEED") == "true" or args.get("deepspeed"):
        return "DeepSpeed"
    if asked.get("ACCELERATE_USE_FSDP") == "true" or args.get("fsdp"):
        return "FSDP"
    return ""


def check_shards(asked: Mapping[str, str], args: Mapping[str, Any], *, gpus: int) -> None:
    """Where accelerate would leave the weights whole in silence, it is said.

    Raises:
        PreflightError: shards are asked for, and there is no GPU to hold them.
    """
    what = sharding(asked, args)
    if what and not gpus:
        raise PreflightError(
            f"{what} is asked for, and accelerate cuts weights into shards on GPUs only",
            place="backend.with",
            remedy="remove it, or take the backend hf, whose FSDP runs on a CPU too",
        )


def apply(name: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that the configuration asks for. They must be set before TRL makes its settings.

    Raises:
        PreflightError: accelerate refuses the configuration.
    """
    from accelerate.commands import launch
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    world = int(environ.get("WORLD_SIZE", "1"))
    words = ["--config_file", str(find(name)), "--num_processes", str(world)]
    words += ["--main_process_port", "0"]
    try:
        wanted = launch.launch_command_parser().parse_args([*words, "grpokit"])
        wanted, defaults, _ = launch._validate_launch_command(wanted)  # noqa: SLF001
        if wanted.use_deepspeed:
            keys = list(defaults.deepspeed_config) if defaults else []
            wanted.deepspeed_fields_from_accelerate_config = ",".join(keys)
            _, asked = prepare_deepspeed_cmd_env(wanted)
        else:
            asked = prepare_multi_gpu_env(wanted)
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        raise PreflightError(
            f"accelerate refuses the configuration: {error}",
            place=f"backend.with.accelerate_config {name}",
            remedy="give the run as many processes as it needs (`grpokit train --processes 2`), "
            "or another configuration",
        ) from error
    return {
        key: value
        for key, value in asked.items()
        if key.startswith(PREFIXES) and key not in OURS and environ.get(key) != value
    }
