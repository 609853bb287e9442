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

import yaml

from grpokit.api import PreflightError

__all__ = ["NAMES", "apply", "check_shards", "find", "kind", "sharding"]

NAMES = ("fsdp1", "fsdp2", "multi_gpu", "single_gpu", "zero1", "zero2", "zero3")
PREFIXES = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_")
OURS = ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_CPU")
KINDS = {
    "NO": "",
    "MULTI_CPU": "",
    "MULTI_GPU": "",
    "FSDP": "FSDP",
    "DEEPSPEED": "DeepSpeed",
}
"""``distributed_type`` -> what cuts the weights into shards."""
OF_THE_RECIPE = {
    "gradient_accumulation_steps": ({"auto", "1"}, "optim.micro_batch or optim.micro_tokens"),
    "gradient_clipping": ({"auto"}, "optim.max_grad_norm"),
}
"""Key of ``deepspeed_config`` -> values that leave the step to us, and where the recipe says it."""


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


def kind(name: str) -> str:
    """What the configuration cuts weights into shards with; empty if it does not. No accelerate here.

    Raises:
        PreflightError: there is no such file, or it asks for what this backend does not do.
    """
    path = find(name)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first = " ".join(str(error).split())
        raise refused(name, f"the accelerate configuration cannot be read: {first}") from error
    if not isinstance(data, dict) or "distributed_type" not in data:
        raise refused(name, "it is no configuration of accelerate: distributed_type is missing")
    found = str(data["distributed_type"] or "NO").upper()
    found = "NO" if found == "FALSE" else found  # YAML's NO without quotes
    if found not in KINDS:
        raise refused(name, f"the trl backend does not run distributed_type {found}")
    compiler = part(data, "dynamo_config").get("dynamo_backend", data.get("dynamo_backend", "NO"))
    if str(compiler).upper() not in {"NO", "FALSE"}:
        fact = (
            "TRL's scoring and generation call the model as it is, not what dynamo_config compiles"
        )
        raise refused(name, fact)
    split = [
        key
        for key, value in part(data, "parallelism_config").items()
        if key.endswith(("tp_size", "cp_size", "sp_size")) and str(value) not in {"0", "1"}
    ]
    if split:
        raise refused(name, f"each process works on rows of its own, which {split[0]} would cut up")
    said = part(data, "deepspeed_config")
    for key, (fits, place) in OF_THE_RECIPE.items():
        if str(said.get(key, "auto")) not in fits:
            raise refused(name, f"{key} is said by the recipe: {place}")
    return KINDS[found]


def part(data: dict[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def refused(name: str, fact: str) -> PreflightError:
    return PreflightError(
        fact,
        place=f"backend.with.accelerate_config {name}",
        remedy="give a file that `accelerate config` wrote, with FSDP, DeepSpeed or several "
        f"processes and nothing else, or one of {', '.join(NAMES)}",
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
    kind(name)
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
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RuntimeError,
        ImportError,
        OSError,
    ) as error:
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
