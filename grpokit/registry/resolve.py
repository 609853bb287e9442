"""From a spec to the code behind it: objects, configurations, hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

from grpokit.errors import ComponentError, GrpokitError
from grpokit.registry.output import stdout_to_stderr
from grpokit.registry.source import read_sources

if TYPE_CHECKING:
    from grpokit.registry.catalog import Entry
    from grpokit.spec.config import Config

__all__ = ["build_config", "config_model", "create", "resolve", "source_hash"]

FOREIGN = "foreign!"
"""What the target of another trainer's reward begins with (see ``registry.foreign``)."""
_CALLED_LATER = frozenset({"reward", "model", "command"})
"""Kinds whose target is itself the component, not a factory of it."""


def resolve(target: str, entry: Entry | None = None) -> Any:
    """Imports ``"module:attribute"``; a foreign reward's target gives a factory of it.

    Raises:
        ComponentError: naming plugin, distribution and version, the cause and the remedy.
    """
    if target.startswith(FOREIGN):
        from grpokit.registry.foreign.adapt import factory

        return factory(target)
    module_name, _, path = target.partition(":")
    # The border to foreign code: an import may raise anything, SystemExit included.
    try:
        with stdout_to_stderr():
            module = import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ComponentError(
            f"importing {module_name} failed: {_fact(error)}",
            place=_place(target, entry),
            remedy=_remedy(error, entry),
        ) from error
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError as error:
        raise ComponentError(
            f"the module {module_name} has no attribute {path!r}",
            place=_place(target, entry),
            remedy=_upgrade(entry),
        ) from error


def config_model(entry: Entry) -> type[Config] | None:
    """The model of the component's settings; None when it has none."""
    from grpokit.spec.config import Config

    if not entry.spec.config:
        return None
    model = resolve(entry.spec.config, entry)
    if not (isinstance(model, type) and issubclass(model, Config)):
        raise ComponentError(
            f"{entry.spec.config} is no subclass of grpokit.api.Config",
            place=_place(entry.spec.config, entry),
            remedy=_upgrade(entry),
        )
    return model


def build_config(entry: Entry, settings: Mapping[str, Any]) -> Config | None:
    """Checks the settings; None for a component without any.

    Raises:
        pydantic.ValidationError: for wrong settings, or any settings where there are none.
    """
    from grpokit.spec.config import Config

    # Through JSON: strict mode takes a list for a tuple and text for a path there, as a recipe needs.
    data = json.dumps(dict(settings), default=str)
    model = config_model(entry)
    if model is None:
        Config.model_validate_json(data)
        return None
    return model.model_validate_json(data)


def create(entry: Entry, settings: Mapping[str, Any]) -> Any:
    """Builds the component: ``target(config)`` where it has settings.

    Without settings a reward, a model and a command are the target itself; everything else is
    ``target()``.
    """
    config = build_config(entry, settings)
    target = resolve(entry.spec.target, entry)
    if config is None and entry.kind in _CALLED_LATER:
        return target
    # A factory is foreign code: errors on purpose pass, the rest gets the plugin's name.
    try:
        with stdout_to_stderr():
            return target() if config is None else target(config)
    except GrpokitError:
        raise
    except Exception as error:
        raise ComponentError(
            f"it could not be built: {_fact(error)}",
            place=_place(entry.spec.target, entry),
            remedy="check its settings with `grpokit plugins show " + entry.id + "`",
        ) from error


def source_hash(entry: Entry) -> str:
    """First 16 hex digits of a SHA-256 of the target's source, without importing it.

    That is its module and what this imports of its own package: a reward changes when its grader does.
    A module without a readable file is identified by distribution, version and target, and what is
    text, such as a prompt, by its words.
    """
    if not entry.spec.target:
        return hashlib.sha256(repr(entry.spec).encode()).hexdigest()[:16]
    if entry.spec.target.startswith(FOREIGN):
        from grpokit.registry.foreign.entry import source_digest

        source = source_digest(entry.spec.target)
    else:
        source = _joined(read_sources(entry.spec.target.partition(":")[0]))
    if source is None:
        plugin = entry.plugin
        source = f"{plugin.distribution}=={plugin.version}:{entry.spec.target}".encode()
    return hashlib.sha256(source).hexdigest()[:16]


def _joined(sources: Mapping[str, bytes]) -> bytes | None:
    """One module is its own bytes; of several, their names and the hashes of each."""
    if len(sources) < 2:
        return next(iter(sources.values()), None)
    lines = (f"{name} {hashlib.sha256(sources[name]).hexdigest()}" for name in sorted(sources))
    return "\n".join(lines).encode()


def _fact(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(target: str, entry: Entry | None) -> str:
    if entry is None:
        return target
    return f"{entry.kind} {entry.origin}"


def _remedy(error: BaseException, entry: Entry | None) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and entry is not None:
        top = missing.partition(".")[0]
        return (
            f"install the package that provides {top!r}, "
            f"or reinstall with its dependencies: pip install {entry.plugin.distribution}"
        )
    return _upgrade(entry)


def _upgrade(entry: Entry | None) -> str:
    if entry is None:
        return "check the spelling of the module and the attribute"
    return (
        f"upgrade it (pip install -U {entry.plugin.distribution}), "
        "or report it to the plugin's author"
    )
