"""What ``trl:pkg.mod.fn`` means: whose convention, which module or file, which name in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from grpokit.errors import ComponentError
from grpokit.registry.catalog import FOREIGN_SCHEMES
from grpokit.registry.resolve import FOREIGN

__all__ = ["FLAG", "TITLES", "Reference", "flag_for", "is_foreign", "parse", "short_name"]

FLAG = "--allow-foreign-rewards"
TITLES = {
    "trl": "TRL",
    "verl": "verl",
    "verifiers": "verifiers",
    "reasoning_gym": "Reasoning Gym",
}
_NAME = r"[^\W\d]\w*"
_MODULE = re.compile(rf"{_NAME}(\.{_NAME})*")
_FORMS = {
    "trl": "trl:pkg.mod.function, trl:pkg.mod:function or trl:file.py:function",
    "verl": "verl:file.py (its compute_score), verl:file.py:function or verl:pkg.mod.function",
    "verifiers": "verifiers:package (its taskset), verifiers:pkg.mod:function or "
    "verifiers:file.py:function",
    "reasoning_gym": "reasoning_gym:task, such as reasoning_gym:countdown",
}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One foreign reward.

    Attributes:
        text: as the recipe names it.
        scheme: one of :data:`FOREIGN_SCHEMES`.
        module: dotted name; empty for a file, and for a task of Reasoning Gym.
        file: absolute path; None for a module.
        attribute: the function; empty for a taskset; the task of Reasoning Gym.
    """

    text: str
    scheme: str
    module: str = ""
    file: Path | None = None
    attribute: str = ""

    @property
    def name(self) -> str:
        """Its name in metrics."""
        return self.attribute or self.module.rpartition(".")[2]

    @property
    def target(self) -> str:
        """The same for any working folder."""
        place = str(self.file) if self.file is not None else self.module
        if self.scheme == "reasoning_gym":
            return f"{FOREIGN}{self.scheme}:{self.attribute}"
        return f"{FOREIGN}{self.scheme}:{place}" + (f":{self.attribute}" if self.attribute else "")

    @property
    def needs_consent(self) -> bool:
        """Reasoning Gym is one known package; everything else names code."""
        return self.scheme != "reasoning_gym"


def is_foreign(name: str) -> bool:
    """Whether a reward's name is a reference and not a component's."""
    return name.partition(":")[0] in FOREIGN_SCHEMES and ":" in name


def short_name(name: str) -> str:
    """The name in metrics of a component's name or of a reference, right or wrong."""
    if not is_foreign(name):
        return name.rpartition("/")[2]
    try:
        return parse(name).name
    except ComponentError:
        return name.rpartition(":")[2]


def flag_for(names: Iterable[str]) -> str:
    """What a command needs beside a recipe with these rewards: the flag behind a space, or nothing."""
    wanting = (name.partition(":")[0] for name in names if is_foreign(name))
    return f" {FLAG}" if any(scheme != "reasoning_gym" for scheme in wanting) else ""


def parse(text: str, folder: Path | None = None) -> Reference:
    """Reads a reference. Relative paths start from ``folder``, the working folder by default.

    Raises:
        ComponentError: it has not the form that its scheme asks for.
    """
    text = text.removeprefix(FOREIGN)
    scheme, _, rest = text.partition(":")
    if not rest.isprintable():  # it is shown to whoever decides about it
        raise _malformed(text, scheme)
    if scheme == "reasoning_gym":
        if re.fullmatch(r"[a-z0-9_]+", rest):
            return Reference(text=text, scheme=scheme, attribute=rest)
        raise _malformed(text, scheme)
    whole = ":" not in rest or rest.endswith(".py")
    place, colon, attribute = (rest, "", "") if whole else rest.rpartition(":")
    if colon and not re.fullmatch(_NAME, attribute):
        raise _malformed(text, scheme)
    if place.endswith(".py"):
        if not colon and scheme != "verl":
            raise _malformed(text, scheme)
        path = ((folder or Path.cwd()) / Path(place).expanduser()).absolute()
        return Reference(
            text=text, scheme=scheme, file=path, attribute=attribute or "compute_score"
        )
    if not _MODULE.fullmatch(place) or (not colon and scheme != "verifiers" and "." not in place):
        raise _malformed(text, scheme)
    if not colon and scheme != "verifiers":
        place, _, attribute = place.rpartition(".")
    return Reference(text=text, scheme=scheme, module=place, attribute=attribute)


def _malformed(text: str, scheme: str) -> ComponentError:
    return ComponentError(
        f"{text!r} names no reward of {TITLES[scheme]}", remedy=f"write {_FORMS[scheme]}"
    )
