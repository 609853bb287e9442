"""Loading one plugin. Whatever its code does, the result is a record with a state and a reason.

pluggy's own entry-point loader has no guard: a plugin that raises ``SystemExit`` at import would
end every command. So the loop is ours, each plugin has a plugin manager of its own, and pluggy
checks the hooks' signatures.
"""

from __future__ import annotations

import difflib
import inspect
import traceback
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import EntryPoint
from importlib.resources.abc import Traversable
from types import ModuleType

import pluggy

from grpokit import hooks
from grpokit.registry.builtin import CORE_VERSION
from grpokit.registry.output import stdout_to_stderr
from grpokit.registry.record import Installed, PluginRecord, State
from grpokit.registry.source import declared_hook_api
from grpokit.registry.validate import duplicates, recipe_problems, spec_problems
from grpokit.spec.components import HOOK_API, ComponentSpec

__all__ = ["fact", "load"]


class _PluginError(Exception):
    """A plugin is broken or incompatible; the message is the reason."""

    def __init__(self, reason: str, state: State = "broken") -> None:
        super().__init__(reason)
        self.state = state


def load(item: Installed) -> PluginRecord:
    if item.error:
        return item.record("broken", reason=item.error)
    specs: list[ComponentSpec] = []
    recipes: list[Traversable] = []
    # The border to foreign code: whatever a plugin raises at import or in a hook, SystemExit
    # included, becomes its state. Only the user's own Ctrl-C passes.
    try:
        with stdout_to_stderr():
            for point in item.points:
                _collect(_import(point, item), specs, recipes, item)
        _raise_all(duplicates(specs))
    except KeyboardInterrupt:
        raise
    except _PluginError as error:
        return item.record(error.state, reason=str(error), trace=_trace(error))
    except BaseException as error:  # noqa: BLE001  (plugin load border)
        return item.record("broken", reason=fact(error), trace=_trace(error))
    return item.record("loaded", specs=tuple(specs), recipes=tuple(recipes))


def _import(point: EntryPoint, item: Installed) -> ModuleType:
    name = point.value.partition(":")[0].strip()
    try:
        module = import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # A plugin for a newer grpokit usually fails on a name that we lack, before we could ask
        # the module for its API number: then its source is asked.
        _check_api(declared_hook_api(name), item)
        if isinstance(error, ImportError) and error.name == "grpokit.api":
            raise _PluginError(
                f"{fact(error)}; it may be made for a newer grpokit: pip install -U grpokit",
                "incompatible",
            ) from error
        raise _PluginError(f"importing {name} failed: {fact(error)}") from error
    _check_api(getattr(module, "GRPOKIT_HOOK_API", None), item)
    return module


def _check_api(declared: object, item: Installed) -> None:
    if declared is None:
        return
    if not isinstance(declared, int) or declared < 1:
        raise _PluginError(f"GRPOKIT_HOOK_API is {declared!r}; it must be a number from 1 on")
    if declared > HOOK_API:
        raise _PluginError(
            f"it is made for hook API {declared}, and grpokit {CORE_VERSION} has {HOOK_API}; "
            f"pip install -U grpokit, or install an older {item.distribution}",
            "incompatible",
        )


def _collect(
    module: ModuleType,
    specs: list[ComponentSpec],
    recipes: list[Traversable],
    item: Installed,
) -> None:
    manager = pluggy.PluginManager("grpokit")
    manager.add_hookspecs(hooks)
    _check_marked(module)
    try:
        manager.register(module, name=item.distribution)
    except pluggy.PluginValidationError as error:
        raise _PluginError(f"wrong hook signature: {error}") from error
    _check_known(manager, module)
    problems: list[str] = []
    for name in hooks.HOOK_NAMES:
        if not getattr(manager.hook, name).get_hookimpls():
            continue
        for found in _call(manager, name):
            wrong = (
                recipe_problems(found) if name == "grpokit_recipes" else spec_problems(name, found)
            )
            listed = list(wrong)
            problems += listed
            if not listed and isinstance(found, ComponentSpec):
                specs.append(found)
            elif not listed and isinstance(found, Traversable):
                recipes.append(found)
    _raise_all(problems)


def _call(manager: pluggy.PluginManager, name: str) -> Iterable[object]:
    """Calls one hook of one plugin; pluggy drops a None result, which would hide a forgotten return."""
    results = getattr(manager.hook, name)()
    if not results:
        raise _PluginError(f"{name} returned None; it must return a list")
    try:
        return [found for result in results for found in result]
    except TypeError as error:
        if any(isinstance(result, Iterable) for result in results):
            raise
        kind = type(results[0]).__name__
        raise _PluginError(f"{name} returned a single {kind}; it must return a list") from error


def _check_marked(module: ModuleType) -> None:
    for name in hooks.HOOK_NAMES:
        function = getattr(module, name, None)
        if inspect.isfunction(function) and not hasattr(function, "grpokit_impl"):
            raise _PluginError(
                f"{name} is not marked with @hookimpl, so nothing would be registered"
            )


def _check_known(manager: pluggy.PluginManager, module: ModuleType) -> None:
    """Pluggy ignores hooks that have no specification; a misspelt one would be silently absent."""
    for caller in manager.get_hookcallers(module) or ():
        if caller.name in hooks.HOOK_NAMES:
            continue
        near = difflib.get_close_matches(caller.name, hooks.HOOK_NAMES, n=1, cutoff=0.8)
        if near:
            raise _PluginError(f"there is no hook {caller.name!r}; did you mean {near[0]!r}?")
        raise _PluginError(
            f"it implements the hook {caller.name!r}, which grpokit {CORE_VERSION} does not know; "
            "pip install -U grpokit",
            "incompatible",
        )


def fact(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error.__cause__ or error))


def _raise_all(problems: Iterable[str]) -> None:
    listed = list(problems)
    if listed:
        raise _PluginError("; ".join(listed))
