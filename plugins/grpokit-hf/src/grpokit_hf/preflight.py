"""What can be known about a recipe before torch is imported: fast, and all problems at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grpokit.api import Preflight, PreflightError, Problem, Recipe
from grpokit_hf.config import HfConfig
from grpokit_hf.kernels import pick_kernel
from grpokit_hf.locate import Located, check_folder, hub_cache, locate
from grpokit_hf.machine import (
    PACKAGES,
    calm_threads,
    gpu_names,
    hub_reachable,
    physical_cores,
    versions,
)
from grpokit_hf.memory import memory_facts
from grpokit_hf.native.build import NoLibraryError, compiler
from grpokit_hf.text.tokenizer import ChatTokenizer, read_json
from grpokit_hf.vllm import preflight as vllm

__all__ = ["preflight"]

BIG = 1_000_000_000
"""Parameters from which training on a CPU deserves a word."""


def preflight(recipe: Recipe) -> Preflight:
    """Packages, device, model, tokenizer and adapter targets, in well under a second."""
    calm_threads()
    found = versions()
    config = HfConfig.model_validate(recipe.backend.with_)
    problems = [*missing_packages(found), *device_problems(config, found)]
    device = device_words(config, found)
    on_cpu = device.startswith("cpu")
    problems += process_problems(recipe, config, 0 if on_cpu else len(gpu_names()))
    problems += compiler_problems(config) if on_cpu else []
    if config.rollouts == "vllm" and (engine := vllm.vllm_version()):
        found |= {engine[0]: engine[1]}
    located, folder = None, None
    try:
        located = locate(recipe.model.id, recipe.model.revision)
        folder = located.folder
        if folder is not None:
            check_folder(folder)
    except PreflightError as error:
        problems.append(problem(error, "HF003", "model.id"))
        folder = None
    if located is not None and located.folder is None:
        problems += absent_model(located)
    dimensions = {} if folder is None else read_json(folder / "config.json")
    problems += vllm.vllm_problems(recipe, config, dimensions, on_cpu=on_cpu, folder=folder)
    if folder is None:
        return Preflight(problems=tuple(problems), versions=found, device=device)
    problems += model_problems(recipe, folder, dimensions, on_cpu=on_cpu)
    tokenizer = None
    try:
        section = recipe.model
        tokenizer = ChatTokenizer(folder, eos=section.eos, chat_template=section.chat_template)
    except PreflightError as error:
        problems.append(problem(error, "HF005", "model"))
    return Preflight(
        problems=tuple(problems),
        dimensions={**dimensions, "parameters": count_parameters(folder)},
        versions=found,
        device=device,
        render=tokenizer.render if tokenizer else None,
        count=tokenizer.count if tokenizer else None,
        notes=(*(tokenizer.notes if tokenizer else ()), *vllm.notes(config)),
        tokens=tokenizer.words() if tokenizer else {},
        shared_prefix=shares_prefix(recipe, config, dimensions, on_cpu=on_cpu),
        memory=memory_facts(recipe, config, on_cpu=on_cpu),
    )


def shares_prefix(
    recipe: Recipe, config: HfConfig, model: Mapping[str, Any], *, on_cpu: bool
) -> bool:
    """Whether the update computes a prompt once for its group, as far as ``config.json`` tells."""
    sharded = recipe.train.processes > 1 and config.parallel == "fsdp"
    device = "cpu" if on_cpu else "cuda"
    kernel = pick_kernel(config.attention, device, train=True, sharded=sharded)
    layers = model.get("layer_types") or ()
    sliding = model.get("use_sliding_window", model.get("sliding_window") is not None)
    full = all(kind == "full_attention" for kind in layers) if layers else not sliding
    return full and config.packing and kernel in ("float32", "flex")


def problem(error: PreflightError, code: str, key: str) -> Problem:
    fact = f"{error.place}: {error.fact}" if error.place else error.fact
    return Problem(level="error", fact=fact, remedy=error.remedy, code=code, key=key)


def missing_packages(found: Mapping[str, str]) -> list[Problem]:
    missing = [name for name in PACKAGES if name not in found or find_spec(name) is None]
    if not missing:
        return []
    return [
        Problem(
            level="error",
            code="HF001",
            key="backend.use",
            fact=f"the hf backend needs packages that are not installed: {', '.join(missing)}",
            remedy="run `pip install grpokit-hf`",
        )
    ]


def cuda_build(found: Mapping[str, str]) -> bool:
    """PyPI's and the CPU index's wheels say in their version what they are built for."""
    version = found.get("torch", "")
    return bool(version) and "+cpu" not in version and find_spec("torch") is not None


def device_problems(config: HfConfig, found: Mapping[str, str]) -> list[Problem]:
    gpus = gpu_names()
    if gpus and not cuda_build(found) and config.device != "cpu" and "torch" in found:
        return [
            Problem(
                level="error" if config.device == "cuda" else "warning",
                code="HF002",
                key="backend.with.device",
                fact=f"{gpus[0]} is there, but torch {found['torch']} is a build for the CPU",
                remedy="install a CUDA build of torch from https://pytorch.org/get-started",
            )
        ]
    if config.device == "cuda" and not gpus:
        return [
            Problem(
                level="error",
                code="HF002",
                key="backend.with.device",
                fact="device is cuda, but there is no NVIDIA GPU (no driver, or hidden by "
                "CUDA_VISIBLE_DEVICES)",
                remedy="run on a machine with a GPU, or `--set backend.with.device=cpu`",
            )
        ]
    return []


def device_words(config: HfConfig, found: Mapping[str, str]) -> str:
    gpus = gpu_names()
    if gpus and cuda_build(found) and config.device != "cpu":
        return f"cuda ({gpus[0]})"
    cores = config.threads or physical_cores()
    return f"cpu ({cores} core{'s' if cores != 1 else ''})"


def compiler_problems(config: HfConfig) -> list[Problem]:
    """Without a C compiler a CPU computes everything by torch: right, and slower."""
    try:
        if config.native:
            compiler(os.environ)
    except NoLibraryError as error:
        return [
            Problem(
                level="warning",
                code="HF019",
                key="backend.with.native",
                fact=f"{error}; grpokit's C code needs one, and without it a step takes longer",
                remedy="install gcc or clang (on Debian and Ubuntu: `apt install gcc`); with "
                "`backend.with.native: false` hf does without",
            )
        ]
    return []


def process_problems(recipe: Recipe, config: HfConfig, gpus: int) -> list[Problem]:
    """Each process needs a GPU of its own; how they share a model concerns several of them."""
    count = recipe.train.processes
    if gpus and count > gpus:
        return [
            Problem(
                level="error",
                code="HF016",
                key="train.processes",
                fact=f"{count} processes need a GPU each, and there {'is' if gpus == 1 else 'are'} {gpus}",
                remedy=f"set train.processes: {gpus}, or backend.with.device: cpu",
            )
        ]
    if count == 1 and config.parallel != "auto":
        return [
            Problem(
                level="warning",
                code="HF016",
                key="backend.with.parallel",
                fact=f"parallel: {config.parallel} is for several processes, and the run has one",
                remedy="run with `--processes 2`, or take it out",
            )
        ]
    return []


def absent_model(located: Located) -> list[Problem]:
    """The model is not on this machine: how it comes here."""
    if located.kind == "catalogue":
        return [
            Problem(
                level="info",
                code="HF004",
                key="model.id",
                fact=f"{located.id} is not here yet; it is downloaded "
                f"({located.entry.spec.source}) when the run starts",
                remedy=f"run `grpokit models pull {located.id}` to do it now",
            )
        ]
    environ = os.environ
    offline = environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if not offline and hub_reachable(environ):
        return [
            Problem(
                level="info",
                code="HF004",
                key="model.id",
                fact=f"{located.id} is not in the hub's cache; it is downloaded when the run starts",
                remedy=f"run `hf download {located.id}` to do it now",
            )
        ]
    why = "HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
    revision = f" --revision {located.revision}" if located.revision else ""
    return [
        Problem(
            level="error",
            code="HF004",
            key="model.id",
            fact=f"{located.id} is not on this machine, and {why}",
            remedy=f"run `hf download {located.id}{revision}` where there is a network and copy "
            f"{hub_cache(environ)} here, or take the model that needs no hub: "
            "`--set model.id=smollm2-135m-instruct`",
        )
    ]


def model_problems(
    recipe: Recipe, folder: Path, config: Mapping[str, Any], *, on_cpu: bool
) -> list[Problem]:
    problems = [*architecture_problems(config), *target_problems(recipe, folder)]
    limit = config.get("max_position_embeddings")
    if isinstance(limit, int) and recipe.rollout.max_tokens >= limit:
        problems.append(
            Problem(
                level="error",
                code="HF007",
                key="rollout.max_tokens",
                fact=f"{recipe.rollout.max_tokens} tokens leave no room for the prompt: "
                f"the model reads {limit}",
                remedy=f"set rollout.max_tokens below {limit}",
            )
        )
    count = count_parameters(folder)
    if on_cpu and count > BIG:
        problems.append(
            Problem(
                level="warning",
                code="HF008",
                key="model.id",
                fact=f"{count / 1e9:.1f} billion parameters on a CPU: a step takes many minutes",
                remedy="run on a GPU, or try the recipe with "
                "`--set model.id=smollm2-135m-instruct` first",
            )
        )
    return problems


def architecture_problems(config: Mapping[str, Any]) -> list[Problem]:
    """Whether the installed transformers has the architecture; found without importing it."""
    kind = str(config.get("model_type", ""))
    package = find_spec("transformers")
    if package is None or package.origin is None:
        return []
    folder = Path(package.origin).parent / "models" / kind.replace("-", "_")
    if kind and folder.is_dir():
        return []
    foreign = "auto_map" in config
    return [
        Problem(
            level="error",
            code="HF006",
            key="model.id",
            fact=f"the installed transformers has no architecture {kind!r}"
            + (", and the model brings code of its own, which is never run" if foreign else ""),
            remedy="upgrade transformers if the architecture is new, or take another model",
        )
    ]


def target_problems(recipe: Recipe, folder: Path) -> list[Problem]:
    """Names in ``lora.targets`` that no weight of the model has."""
    lora = recipe.model.lora
    if lora is None or isinstance(lora.targets, str):
        return []
    modules = {name.removesuffix(".weight") for name in weight_shapes(folder)}
    last = {name.rpartition(".")[2] for name in modules}
    wrong = [
        target
        for target in lora.targets
        if target not in last and not any(name.endswith(f".{target}") for name in modules)
    ]
    if not wrong or not modules:
        return []
    return [
        Problem(
            level="error",
            code="HF009",
            key="model.lora.targets",
            fact=f"the model has no module {', '.join(wrong)}",
            remedy=f"modules are {', '.join(sorted(n for n in last if n.endswith('proj')) or sorted(last))}",
        )
    ]


def weight_shapes(folder: Path) -> dict[str, list[int]]:
    """Weight name -> shape, from the headers of the safetensors files."""
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size < 1 << 28:
                continue
            try:
                header = json.loads(file.read(size))
            except ValueError:
                continue
        shapes |= {name: item["shape"] for name, item in header.items() if name != "__metadata__"}
    return shapes


def count_parameters(folder: Path) -> int:
    total = 0
    for shape in weight_shapes(folder).values():
        product = 1
        for size in shape:
            product *= size
        total += product
    return total
