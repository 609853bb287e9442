"""Which TRL is installed, and whether its seams are where this plugin expects them.

The methods that are overridden or called, with the parameters that they must have. They have been
the same from TRL 1.14 to 1.16. Another release may move them: then a run ends before it begins, with
a sentence, and not in the middle with an error of Python's.
"""

from __future__ import annotations

import inspect
import re
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from grpokit.api import PreflightError

__all__ = ["FIRST", "INSTALL", "LAST", "check", "in_range", "misfit", "plain_logps", "version"]

FIRST, LAST = (1, 14), (1, 16)
INSTALL = "pip install 'trl>=1.14,<1.17'"

SEAMS: dict[str, tuple[str, ...]] = {
    "_generate_and_score_completions": ("inputs",),
    "_tokenize_prompts": ("prompts",),
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_get_per_token_logps_and_entropies": ("model",),
    "training_step": ("model", "inputs", "num_items_in_batch"),
    "get_train_dataloader": (),
    "create_optimizer": (),
    "create_scheduler": ("num_training_steps",),
    "log": ("logs",),
    "_send_telemetry": (),
}
"""Methods of GRPOTrainer, with the positional parameters that they are called with."""


def version() -> str:
    """Of the installed TRL; empty without one."""
    try:
        return metadata.version("trl")
    except metadata.PackageNotFoundError:
        return ""


def in_range(text: str) -> bool:
    """Whether this release of TRL is one that the plugin was tested with."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    return numbers is not None and FIRST <= (int(numbers[1]), int(numbers[2])) <= LAST


def check(trainer: type[Any], config: type[Any]) -> None:
    """Refuses a TRL that does not have the expected methods and settings.

    Raises:
        PreflightError: it names the release, the method and what is wrong with it.
    """
    found = version()
    for name, wanted in SEAMS.items():
        method = getattr(trainer, name, None)
        if method is None:
            raise misfit(found, f"GRPOTrainer has no method {name}")
        given = list(inspect.signature(method).parameters)[1:]
        if given[: len(wanted)] != list(wanted):
            raise misfit(
                found, f"GRPOTrainer.{name} takes ({', '.join(given)}), not ({', '.join(wanted)})"
            )
    known = config.__dataclass_fields__
    missing = [key for key in ("beta", "num_generations", "use_vllm") if key not in known]
    if missing:
        raise misfit(found, f"GRPOConfig has no setting {missing[0]}")


def misfit(found: str, fact: str) -> PreflightError:
    return PreflightError(
        f"TRL {found} is not one that the trl backend knows: {fact}",
        place="backend.use",
        remedy=f"run `{INSTALL}`",
    )


def plain_logps(device: str) -> bool:
    """TRL 1.15 computes log-probs with a Triton kernel alone, which needs the model on a GPU."""
    return version().startswith("1.15.") and (device == "cpu" or find_spec("triton") is None)
