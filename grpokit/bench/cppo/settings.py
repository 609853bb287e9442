"""What is compared: GRPO, and CPPO at each rate without and with allocation, at equal questions.

A step of GRPO takes P questions of G completions and trains on all of them. At rate r CPPO trains on
k = G (1 - r) of each group. With allocation a step takes P / (1 - r) questions, so that as many
completions train as under GRPO, and the same questions need 1 / (1 - r) times fewer steps:

    steps = floor(questions / (P / (1 - r)))

as in the authors' code, whose sampler drops an incomplete last batch. Rate 0 is GRPO, with allocation or
without.

The paper keeps the learning rate. A row may also *scale* it by sqrt(1 / (1 - r)): so much larger it has to
be for Adam to go as far in steps on 1 / (1 - r) times more questions (arXiv 2205.10287, square root rule).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grpokit.bench.contestants import Contestant
from grpokit.bench.matrix import refuse_own_keys
from grpokit.compose.load import load_recipe
from grpokit.errors import PreflightError, RecipeError
from grpokit.registry.resolve import config_model

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.registry.catalog import Catalog

__all__ = [
    "OWN_KEYS",
    "RATES",
    "SCALED",
    "SKIPPING",
    "Setting",
    "Shape",
    "make_settings",
    "parse_rates",
]

RATES = "0,0.5,0.75,0.875,0.9375"
"""The paper's. 0 is GRPO."""
SKIPPING = "0,0.875"
"""Rates that also run without forwarding what moves no weight, with allocation."""
SCALED = "0.875"
"""Rates that also run with a scaled learning rate, with allocation."""
CLOSE = 1e-6
OWN_KEYS = (
    "algorithm",
    "train.seed",
    "train.out",
    "extends",
    "backend.with.skip",
    "backend.with.tree",
)
"""What the bench decides itself."""
KINDS = ((False, False, False), (True, False, False), (True, False, True), (True, True, False))
"""Allocation, skipping and scaling of the rows of one rate."""
PLACED = ("select", "allocate")
"""Axes on which CPPO is put."""


@dataclass(frozen=True, kw_only=True)
class Setting(Contestant):
    """One row of the table.

    Attributes:
        rate: share of the completions that is pruned; 0 for GRPO.
        allocation: freed places go to further questions.
        skipping: completions that move no weight, and what several have in common, are not computed.
        scale: how many times the recipe's learning rate it has.
        group: completions a question.
        kept: of them, how many train.
        prompts: questions a step.
        steps: of a run.
    """

    rate: float
    allocation: bool
    skipping: bool
    scale: float = 1.0
    group: int
    kept: int
    prompts: int
    steps: int

    @property
    def method(self) -> str:
        """What it is called beside a column for the rate."""
        name = "CPPO" if self.rate else "GRPO"
        marks = (("alloc", self.allocation), ("skip", self.skipping), ("lr", self.scale != 1.0))
        return " ".join([name, *(word for word, holds in marks if holds)])


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A step of GRPO, and the questions of a run.

    Attributes:
        prompts: questions a step.
        group: completions a question.
        questions: of a run.
    """

    prompts: int
    group: int
    questions: int

    def kept(self, rate: float) -> int:
        """Completions of a group that train; 0 where they are no whole number."""
        exact = self.group * (1 - rate)
        return round(exact) if abs(exact - round(exact)) <= CLOSE else 0

    def asked(self, rate: float, *, allocation: bool) -> int:
        """Questions a step; 0 where they are no whole number."""
        exact = self.prompts / (1 - rate) if allocation else self.prompts
        return round(exact) if abs(exact - round(exact)) <= CLOSE * exact else 0

    def steps(self, rate: float, *, allocation: bool) -> int:
        """Whole steps with which a run sees its questions once."""
        asked = self.asked(rate, allocation=allocation)
        return self.questions // asked if asked else 0

    def problem(self, rate: float) -> str:
        """Why the rate does not fit; empty if it does."""
        if not self.kept(rate):
            rates = [1 - kept / self.group for kept in _halves(self.group)]
            return (
                f"rate {rate:g} keeps {self.group * (1 - rate):g} of {self.group} completions, which is "
                f"no whole number of at least 1; of {self.group}, "
                f"{', '.join(f'{each:g}' for each in rates)} can be pruned, "
                "or set another rollout.group"
            )
        if not self.asked(rate, allocation=True):
            return (
                f"rate {rate:g} with allocation makes {self.prompts / (1 - rate):g} questions of "
                f"rollout.prompts {self.prompts}, which is no whole number; set another rollout.prompts"
            )
        if not self.steps(rate, allocation=True):
            return (
                f"{self.questions} questions do not fill one step at rate {rate:g}, which takes "
                f"{self.asked(rate, allocation=True)}; ask for more with --questions"
            )
        return ""


def _halves(group: int) -> list[int]:
    """Group sizes that halving leads to: those of the usual rates."""
    found = [group // 2**power for power in range(1, 8) if group % 2**power == 0]
    return found or [kept for kept in range(1, group) if group % kept == 0]


def parse_rates(text: str, option: str = "--rates") -> tuple[float, ...]:
    """The list of ``--rates``, separated by commas; in order, each once.

    Raises:
        RecipeError: an item is no number from 0 to below 1, or the list is empty.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    wrong = [item for item in items if not _is_rate(item)]
    if wrong:
        raise RecipeError(
            f"{', '.join(map(repr, wrong))} {'is no rate' if len(wrong) == 1 else 'are no rates'}: "
            "a number from 0 (GRPO) to below 1 (nothing would train)",
            place=option,
            remedy=f"write the share of completions that is pruned, as in {option} 0.5,0.875",
        )
    return tuple(sorted({float(item) for item in items}))


def _is_rate(item: str) -> bool:
    try:
        return 0 <= float(item) < 1
    except ValueError:
        return False


def make_settings(
    name: str,
    *,
    rates: Sequence[float],
    skipping: Sequence[float],
    questions: int | None,
    overrides: Sequence[str],
    catalog: Catalog,
    scaled: Sequence[float] = (),
) -> tuple[Setting, ...]:
    """GRPO first, then CPPO by rate; without allocation, with it, with its learning rate, and skipping.

    Raises:
        RecipeError: the recipe, its algorithm or a rate does not fit.
        PreflightError: CPPO's plugin or the backend's switch is not there.
    """
    refuse_own_keys(
        overrides,
        OWN_KEYS,
        "name pruning rates with --rates, others with --skipping and --scaled, the number "
        "of seeds with --seeds, the folder with --out; what GRPO does stands in the recipe",
    )
    loaded = load_recipe(name, overrides=overrides, catalog=catalog)
    algorithms = _Algorithms.of(loaded, catalog)
    _check_backend(loaded, catalog)
    rollout = loaded.recipe.rollout
    asked = algorithms.asked(rollout.prompts)
    shape = Shape(
        prompts=rollout.prompts,
        group=rollout.group,
        questions=questions or loaded.recipe.train.steps * asked,
    )
    every = sorted({0.0, *rates, *skipping, *scaled})
    _refuse_misfits(shape, every)
    kinds = [(0.0, False, False, False), (0.0, False, True, False)]
    kinds += [(rate, *kind) for rate in every[1:] for kind in KINDS]
    return tuple(
        _setting(
            shape,
            algorithms,
            rate,
            allocation=allocation,
            skipping=skips,
            lr=loaded.recipe.optim.lr if scales else None,
        )
        for rate, allocation, skips, scales in kinds
        if rate in (skipping if skips else scaled if scales else {0.0, *rates})
    )


def _setting(
    shape: Shape,
    algorithms: _Algorithms,
    rate: float,
    *,
    allocation: bool,
    skipping: bool,
    lr: float | None,
) -> Setting:
    """With ``lr``, the recipe's learning rate, the row has a scaled one."""
    section = algorithms.section(rate, allocation=allocation)
    steps = shape.steps(rate, allocation=allocation)
    words = ["CPPO" if rate else "GRPO"]
    words += [f"{rate:g}"] * bool(rate) + ["alloc"] * allocation + ["skip"] * skipping
    words += ["lr"] * (lr is not None)
    scale = 1.0 if lr is None else math.sqrt(1 / (1 - rate))
    return Setting(
        label=" ".join(words),
        overrides=(
            "algorithm=null",
            f"algorithm={json.dumps(section, ensure_ascii=False)}",
            f"backend.with.skip={json.dumps(skipping)}",
            f"backend.with.tree={json.dumps(skipping)}",
            f"train.steps={steps}",
            "eval.every=null",
            *([] if lr is None else [f"optim.lr={lr * scale!r}"]),
        ),
        rate=rate,
        allocation=allocation,
        skipping=skipping,
        scale=scale,
        group=shape.group,
        kept=shape.kept(rate),
        prompts=shape.asked(rate, allocation=allocation),
        steps=steps,
    )


@dataclass(frozen=True, kw_only=True)
class _Algorithms:
    """The recipe's algorithm, with CPPO's two parts put in.

    Attributes:
        data: the section as it is written in the recipe.
        whole: the recipe's algorithm is CPPO itself, whose settings these are.
    """

    data: Mapping[str, Any]
    whole: bool

    @classmethod
    def of(cls, loaded: Loaded, catalog: Catalog) -> _Algorithms:
        data = loaded.data.get("algorithm") or {"use": "grpo"}
        if not catalog.matches("algorithm", "cppo/prune"):
            raise PreflightError(
                "CPPO is not installed",
                place="grpokit bench cppo",
                remedy="pip install grpokit-cppo",
            )
        use = loaded.recipe.algorithm.use
        entry = catalog.find("algorithm", use)
        parts = [axis for axis in PLACED if axis in loaded.recipe.algorithm.parts]
        if entry.id not in ("grpo", "cppo/cppo") or parts:
            fact = f"part {parts[0]!r} stands where CPPO's has to" if parts else "no relative of it"
            raise RecipeError(
                f"CPPO is compared with GRPO, and the recipe's algorithm is {use!r}: {fact}",
                place=f"{loaded.name}: algorithm",
                remedy="take a recipe with `algorithm: {use: grpo}` or `{use: cppo/cppo}`",
            )
        return cls(data=data, whole=entry.id == "cppo/cppo")

    def asked(self, prompts: int) -> int:
        """Questions a step of the recipe as it stands."""
        settings = self.data.get("with") or {}
        if not self.whole or settings.get("allocation", "none") == "none":
            return prompts
        return round(prompts / (1 - float(settings.get("rate", 0.5))))

    def section(self, rate: float, *, allocation: bool) -> dict[str, Any]:
        """The algorithm section of one row."""
        settings = dict(self.data.get("with") or {})
        if self.whole:
            settings.pop("keep", None)
            own = {"rate": rate, "allocation": "fixed" if allocation else "none"}
            return {**self.data, "with": {**settings, **own}}
        if not rate:
            return dict(self.data)
        parts = dict(self.data.get("parts") or {})
        parts["select"] = {"use": "cppo/prune", "with": {"rate": rate}}
        if allocation:
            parts["allocate"] = {"use": "cppo/allocate", "with": {"rate": rate}}
        return {**self.data, "parts": parts}


def _check_backend(loaded: Loaded, catalog: Catalog) -> None:
    """The baseline forwards rows that move nothing; only a backend with that switch can."""
    use = loaded.recipe.backend.use
    model = config_model(catalog.find("backend", use))
    if model is None or "skip" not in model.model_fields:
        raise PreflightError(
            f"the backend {use} cannot forward rows that move no weight, as the paper's GRPO does",
            place=f"{loaded.name}: backend",
            remedy="add --set backend.use=hf --set backend.with={}",
        )


def _refuse_misfits(shape: Shape, rates: Sequence[float]) -> None:
    lines = tuple(problem for rate in rates if (problem := shape.problem(rate)))
    if lines:
        raise RecipeError(
            f"the comparison cannot run: {len(lines)} problem{'s' if len(lines) > 1 else ''}; "
            "nothing was trained",
            place="--rates",
            remedy="leave those rates out, or change the step",
            problems=lines,
        )
