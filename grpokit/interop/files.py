"""One reward in another trainer: the line that names it there, or a file with its settings."""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from dataclasses import dataclass
from keyword import iskeyword
from shlex import quote
from typing import Any

from grpokit.errors import RecipeError
from grpokit.interop.names import dotted, python_name, python_names
from grpokit.registry.catalog import Entry

__all__ = ["TARGETS", "Written", "lines", "python_file"]


@dataclass(frozen=True)
class _Target:
    title: str
    imports: tuple[str, ...]
    made: str
    """The function of the file; ``{name}`` is its name, REWARDS its rewards."""
    named: str
    """What to write there for a file, with its ``{file}``, ``{folder}``, ``{stem}`` and ``{name}``."""
    path: str = ""
    """What to write there without a file; empty where the trainer only takes a file."""


TARGETS: dict[str, _Target] = {
    "trl": _Target(
        "TRL",
        ("from grpokit.interop.trl import functions",),
        "({name},) = functions(REWARDS)",
        "from {stem} import {name}  # GRPOTrainer(reward_funcs=[{name}], ...){path_too}",
        "from grpokit.interop.trl import {path}  # GRPOTrainer(reward_funcs=[{path}], ...)",
    ),
    "axolotl": _Target(
        "axolotl",
        ("from grpokit.interop.axolotl import functions, transform",),
        "({name},) = functions(REWARDS)",
        "trl: {{reward_funcs: [{stem}.{name}]}}  # with PYTHONPATH={folder} before the command",
        "trl: {{reward_funcs: [grpokit.interop.axolotl.{path}]}}",
    ),
    "verl": _Target(
        "verl",
        ("from grpokit.interop.verl import compute_score",),
        "{name} = compute_score(REWARDS, name={name!r})",
        "reward.custom_reward_function.path={file} reward.custom_reward_function.name={name}",
        "reward.custom_reward_function.path=pkg://grpokit.interop.verl "
        "reward.custom_reward_function.name={path}",
    ),
    "verifiers": _Target(
        "verifiers",
        ("from grpokit.interop.verifiers import score",),
        "{name} = score(REWARDS, name={name!r})",
        'env.taskset.task.rewards.{name} = {{fn = "{file}:{name}", weight = 1.0}}',
        'env.taskset.task.rewards.{path} = {{fn = "grpokit.interop.verifiers:{path}", weight = 1.0}}',
    ),
    "openrlhf": _Target(
        "OpenRLHF",
        ("from grpokit.interop.openrlhf import reward_func as made_from",),
        "reward_func = made_from(REWARDS)",
        "--reward.remote_url {file}",
    ),
}
"""Trainer -> how it names rewards."""
_TAKEN = ("REWARDS", "Rewards", "compute_score", "functions", "score", "transform")
"""Names that a written file has besides its function."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file for a trainer, and what to write there to use it."""

    text: str
    line: str


def lines(entry: Entry, target: str) -> str:
    """What to write in a trainer for the reward with its default settings; empty: it takes a file."""
    return TARGETS[target].path.format(path=dotted(entry.id))


def python_file(entry: Entry, target: str, settings: Mapping[str, Any], *, file: str) -> Written:
    """The file ``file`` (a path) for a reward with settings.

    Raises:
        RecipeError: the trainer imports it, and its name is none of a Python module.
    """
    to = TARGETS[target]
    folder, _, last = file.rpartition("/")
    stem = last.removesuffix(".py")
    if "{stem}" in to.named and (not stem.isidentifier() or iskeyword(stem)):
        raise RecipeError(
            f"{to.title} imports the file, and {stem!r} is no name of a Python module",
            place="grpokit export reward --out",
            remedy=f"call it {python_name(stem) or 'reward'}.py",
        )
    (name,) = python_names([entry.spec.name], _TAKEN)
    line = to.named.format(
        file=file if "{{fn" in to.named else quote(file),
        stem=stem,
        name=name,
        folder=quote(folder or "."),
        path_too=f", with PYTHONPATH={quote(folder)}" if folder else "",
    )
    return Written(text=_text(entry, to, settings, name), line=line)


def _text(entry: Entry, to: _Target, settings: Mapping[str, Any], name: str) -> str:
    section: dict[str, Any] = {"use": entry.id, "name": dotted(entry.spec.name)}
    if settings:
        section["with"] = dict(settings)
    imports = sorted((*to.imports, "from grpokit.interop.rewards import Rewards"))
    shown = '["transform"]' if "transform" in to.imports[0] else ""
    return "\n".join(
        [
            f'"""The reward {entry.id} of {entry.plugin.distribution} for {to.title}."""',
            "",
            *imports,
            "",
            *([f"__all__ = {shown}", ""] if shown else []),
            f"REWARDS = Rewards([{pprint.pformat(section, width=90, sort_dicts=False)}])",
            to.made.format(name=name),
            "",
        ]
    )
