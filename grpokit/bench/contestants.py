"""What is compared: named algorithms, with settings of their own, or those of whole recipes."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpokit.compose.library import looks_like_file
from grpokit.compose.load import load_recipe
from grpokit.errors import RecipeError

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog

__all__ = ["DEFAULT", "Contestant", "default_contestants", "parse_contestants"]

DEFAULT = (
    "grpo",
    "dr-grpo",
    "dapo",
    "gspo",
    "gmpo",
    "cispo",
    "gfpo",
    "rloo",
    "reinforce-pp-baseline",
    "lite-ppo",
    "cppo/cppo",
)
"""What is compared when nothing else is asked for, as far as it is installed."""

_RESET = "algorithm=null"
_SETTING = re.compile(r"[A-Za-z_][\w.-]*=.*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One algorithm of the comparison.

    Attributes:
        label: what the tables call it.
        overrides: they put it in the place of the recipe's own ``algorithm`` section.
    """

    label: str
    overrides: tuple[str, ...]

    @property
    def slug(self) -> str:
        """The label as the beginning of a folder's name."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.label).strip("-.") or "algorithm"


def default_contestants(catalog: Catalog) -> tuple[Contestant, ...]:
    """:data:`DEFAULT`, less those of plugins that are not installed."""
    known = [name for name in DEFAULT if catalog.matches("algorithm", name)]
    return parse_contestants(",".join(known), catalog)


def parse_contestants(text: str, catalog: Catalog) -> tuple[Contestant, ...]:
    """The list of ``--algorithms``, separated by commas.

    An item is a name, a name with settings (``grpo:epsilon_high=0.28:beta=0.04``; a key may also be
    ``parts.advantage.use``), or a recipe's file or name, whose ``algorithm`` section is taken.

    Raises:
        RecipeError: the list is empty or holds an item twice, or a recipe cannot be read.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    twice = [item for item, count in Counter(items).items() if count > 1]
    if not items or twice:
        raise RecipeError(
            f"{twice[0]} is listed twice" if twice else "the list of algorithms is empty",
            place="--algorithms",
            remedy="name each once, as in --algorithms grpo,dr-grpo",
        )
    return tuple(_contestant(item, catalog) for item in items)


def _contestant(item: str, catalog: Catalog) -> Contestant:
    if looks_like_file(item):
        return Contestant(label=item, overrides=_of_recipe(item, catalog))
    name, *settings = item.split(":")
    wrong = [setting for setting in settings if not _SETTING.fullmatch(setting)]
    if wrong:
        raise RecipeError(
            f"{wrong[0]!r} is no setting",
            place=f"--algorithms {item}",
            remedy="write NAME:KEY=VALUE:KEY=VALUE, as in grpo:epsilon_high=0.28",
        )
    keys = [
        f"algorithm.{setting}" if setting.startswith("parts.") else f"algorithm.with.{setting}"
        for setting in settings
    ]
    return Contestant(label=item, overrides=(_RESET, f"algorithm.use={name}", *keys))


def _of_recipe(name: str, catalog: Catalog) -> tuple[str, ...]:
    """The section as it is written there, without defaults."""
    section = load_recipe(name, catalog=catalog).data.get("algorithm") or {"use": "grpo"}
    return _RESET, f"algorithm={json.dumps(section, ensure_ascii=False)}"
