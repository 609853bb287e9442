"""``like: trl`` and ``like: verl``: another framework's conventions in one word. No torch here.

Frameworks disagree in what a method's paper leaves open (docs/conventions.md). A table has the settings
with which grpokit gives that framework's loss and gradient for one algorithm. It fills what the user
did not write, and nothing else: clip ranges, weights of penalties and group sizes are the user's.

TRL is 1.14.2, verl is 0.9.1, each as its own functions do it when called with their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from grpokit.spec.config import Config

__all__ = ["FRAMEWORKS", "Conventions", "Likeable", "choices"]

FRAMEWORKS = {"trl": "TRL 1.14.2", "verl": "verl 0.9.1"}

Conventions = Mapping[str, Mapping[str, Any] | str]
"""Framework to its settings, or to the sentence that says why there are none."""


class Likeable(Config):
    """Settings that ``like`` can fill. A class without a table of its own refuses both words."""

    conventions: ClassVar[Conventions] = {}

    like: Literal["trl", "verl"] | None = None
    """Take the conventions of TRL 1.14.2 or verl 0.9.1 for every setting that is not written here (docs/conventions.md)."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        name = given.get("like") if isinstance(given, dict) else None
        if not isinstance(name, str) or name not in FRAMEWORKS:
            return given
        table = choices(cls)[name]
        if not isinstance(table, Mapping):
            reason = f"like: {name} is not possible here: {table}"
            raise ValueError(reason)  # noqa: TRY004 - pydantic makes a diagnostic of it
        return {**table, **given}

    def origins(self) -> dict[str, str]:
        """Where values come from that are neither written in the recipe nor defaults."""
        table = choices(type(self)).get(self.like or "", "")
        names = table if isinstance(table, Mapping) else ()
        return dict.fromkeys(names, f"like: {self.like}")


def choices(model: type[Config]) -> Conventions:
    """What each word selects for these settings. A subclass may differ, so nothing is inherited."""
    if not issubclass(model, Likeable):
        return {}
    own: Conventions = model.__dict__.get("conventions", {})
    return {
        name: own.get(name, f"nobody has compared this algorithm with {version}")
        for name, version in FRAMEWORKS.items()
    }


_TRL_STD = {"std_ddof": 1, "std_eps": 1e-4}
_VERL_STD = {"std_ddof": 1, "std_eps": 1e-6}
_TRL = {
    "kl_estimator": "k3",
    "kl_times_ratio": True,
    "kl_limit": None,
    "entropy_mean": "tokens",
    "empty_rows": "count",
}
_VERL = {
    "kl_estimator": "k3",
    "kl_times_ratio": False,
    "kl_limit": 10.0,
    "entropy_mean": "objective",
    "empty_rows": "leave-out",
}
_TRL_RATIO = {"log_ratio_max": 60.0, "log_ratio_min": None}
_VERL_RATIO = {"log_ratio_max": 20.0, "log_ratio_min": -20.0}
_TRL_CLIP = {**_TRL, **_TRL_RATIO, "dual_clip": None}
_VERL_CLIP = {**_VERL, **_VERL_RATIO, "dual_clip": 3.0}

GRPO: Conventions = {
    "trl": {**_TRL_CLIP, **_TRL_STD, "aggregation": "sequence-mean"},
    "verl": {**_VERL_CLIP, **_VERL_STD, "aggregation": "token-mean"},
}
DAPO: Conventions = {"trl": {**_TRL_CLIP, **_TRL_STD}, "verl": {**_VERL_CLIP, **_VERL_STD}}
DR_GRPO: Conventions = {
    "trl": {**_TRL_CLIP, "denominator": "rows-and-length"},
    "verl": {**_VERL_CLIP, "denominator": "rows-and-length"},
}
BNPO_TRL: Conventions = {
    "trl": {**_TRL_CLIP, **_TRL_STD, "empty_rows": "leave-out"},
    "verl": "verl has no loss that is averaged over each micro-batch by itself",
}
GSPO: Conventions = {
    "trl": {**_TRL_CLIP, **_TRL_STD, "aggregation": "sequence-mean"},
    "verl": {
        **_VERL,
        **_VERL_STD,
        "log_ratio_max": 10.0,
        "log_ratio_min": None,
        "dual_clip": None,
        "aggregation": "sequence-mean",
    },
}
GSPO_TOKEN: Conventions = {
    "trl": "TRL has GSPO, not its token form; use gspo",
    "verl": GSPO["verl"],
}
LUSPO: Conventions = {
    "trl": {**_TRL_CLIP, **_TRL_STD},
    "verl": "verl has no LUSPO",
}
CISPO: Conventions = {
    "trl": {**_TRL, **_TRL_RATIO, **_TRL_STD, "floor": None},
    "verl": {**_VERL, **_VERL_RATIO, **_VERL_STD, "cap": 1.2, "floor": 0.8},
}
SAPO: Conventions = {
    "trl": {**_TRL, **_TRL_RATIO, **_TRL_STD},
    "verl": {**_VERL, **_VERL_RATIO, **_VERL_STD},
}
GMPO: Conventions = {
    "trl": {**_TRL, **_TRL_STD, "kl_times_ratio": False},
    "verl": {**_VERL, **_VERL_STD, "empty_rows": "count"},
}
VESPO: Conventions = {
    "trl": {**_TRL, **_TRL_STD},
    "verl": "verl has no VESPO",
}
RLOO: Conventions = {
    "trl": {
        **_TRL_CLIP,
        "kl_times_ratio": False,
        "ratio": "sequence-product",
        "aggregation": "sequence-mean",
    },
    "verl": {**_VERL_CLIP, "ratio": "token", "aggregation": "token-mean"},
}
REINFORCE: Conventions = {
    "trl": "TRL has no REINFORCE++",
    "verl": {**_VERL_CLIP, "variance_eps": 1e-8, "count": "tokens", "dead_groups": "shifted"},
}
LITE_PPO: Conventions = {
    "trl": {**_TRL_CLIP, "std_eps": 1e-4},
    "verl": "verl does not divide by the deviation of the batch alone",
}
BNPO: Conventions = {
    "trl": "what TRL calls bnpo is bnpo-trl here",
    "verl": "verl has no BNPO",
}
GPG: Conventions = {
    "trl": "TRL has no GPG",
    "verl": {**_VERL, "nonzero": "rewards"},
}
OPO: Conventions = {
    "trl": "TRL has no OPO",
    "verl": _VERL_CLIP,
}
