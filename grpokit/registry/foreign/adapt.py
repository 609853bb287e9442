"""From a reference to a reward. This imports foreign code: callers have somebody's consent."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.errors import ComponentError
from grpokit.registry.foreign.reference import Reference, parse
from grpokit.registry.output import stdout_to_stderr

if TYPE_CHECKING:
    from grpokit.spec.config import Config

__all__ = ["factory"]

Reward = Callable[..., Any]


def factory(target: str) -> Callable[[Config], Reward]:
    """What a foreign entry's target stands for: ``factory(target)(settings)`` is the reward."""
    return partial(_build, parse(target))


def _build(reference: Reference, settings: Any) -> Reward:
    """The reward; import errors name the reference.

    Raises:
        ComponentError: it cannot be imported, or cannot be called as its scheme says.
    """
    if reference.scheme == "reasoning_gym":
        from grpokit.registry.foreign import reasoning_gym

        return reasoning_gym.reward(reference, settings)
    if not reference.attribute:
        from grpokit.registry.foreign import verifiers

        return verifiers.of_taskset(reference)
    function = _load(reference)
    if not callable(function) or isinstance(function, type):
        raise ComponentError(
            f"{reference.attribute} is no function but "
            + ("a class" if isinstance(function, type) else f"a {type(function).__name__}"),
            place=reference.text,
            remedy="name a function, or an object that can be called",
        )
    if reference.scheme == "trl":
        from grpokit.registry.foreign import trl

        return trl.reward(reference, function, settings)
    if reference.scheme == "verl":
        from grpokit.registry.foreign import verl

        return verl.reward(reference, function, settings)
    from grpokit.registry.foreign import verifiers

    return verifiers.of_function(reference, function)


def _load(reference: Reference) -> Any:
    # The border to foreign code: an import may raise anything, SystemExit included.
    try:
        with stdout_to_stderr():
            if reference.file is not None:
                module = _of_file(reference.file)
            else:
                module = importlib.import_module(reference.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ComponentError(
            f"importing {reference.file or reference.module} failed: "
            f"{type(error).__name__}: {error}",
            place=reference.text,
            remedy=_remedy(reference, error),
        ) from error
    try:
        return getattr(module, reference.attribute)
    except AttributeError as error:
        raise ComponentError(
            f"{reference.file or reference.module} has no {reference.attribute!r}",
            place=reference.text,
            remedy="check the spelling",
        ) from error


def _remedy(reference: Reference, error: BaseException) -> str:
    """A file's folder is not on Python's path: what lies there could stand before other modules."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if reference.file is not None and missing:
        beside = reference.file.parent / missing.partition(".")[0]
        if beside.with_suffix(".py").is_file() or beside.is_dir():
            return (
                f"{beside.name} lies beside it: put PYTHONPATH={beside.parent} before the command"
            )
    return "install what it needs, or correct it"


def _of_file(path: Path) -> Any:
    """The module of a file, under a name that no package has."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"grpokit_foreign_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there while the file runs
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
