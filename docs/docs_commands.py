"""Help of every command as Markdown, from the command objects and not from a terminal's width."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from typer.main import get_command

from grpokit.cli.commands import BELOW, COMMANDS

__all__ = ["command_help", "commands", "options_of"]

GLOBAL = ("--version", "--debug", "--help")


def commands() -> Iterator[tuple[str, Any]]:
    """(``grpokit recipes show``, command object) of every command that runs something."""
    targets = {name: target for name, (target, _) in COMMANDS.items()}
    for name, target in (targets | BELOW).items():
        module, _, attribute = target.partition(":")
        yield from _walk(f"grpokit {name}", get_command(getattr(import_module(module), attribute)))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, child in below.items():
        yield from _walk(f"{path} {name}", child)


def command_help() -> str:
    """One section a command: what it does, its usage, its arguments and options."""
    head = (
        "`grpokit COMMAND --help` prints the same. Every command also has `--help`; before or after "
        "a command, `--debug` shows the traceback of an error. `grpokit --version` prints the "
        "version.\n"
    )
    parts = [head]
    for path, command in commands():
        rows = [_row(param) for param in _params(command)]
        parts.append(f"## `{path}`\n\n{inspect.cleandoc(command.help or '')}\n")
        parts.append(f"```text\n{_usage(path, command)}\n```\n")
        if rows:
            parts.append("| argument or option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n")
    environment = (
        "## Environment\n\n| variable | meaning |\n|---|---|\n"
        "| `GRPOKIT_PLUGINS=a,b` | load only these plugins; empty loads none |\n"
        "| `GRPOKIT_DISABLE=a` | load all plugins but these |\n"
        "| `GRPOKIT_CACHE=FOLDER` | where catalogued models are kept; "
        "`~/.cache/grpokit` otherwise |\n"
        "| `GRPOKIT_DEBUG=1` | the same as `--debug` |\n"
    )
    return "\n".join([*parts, environment])


def options_of(command: Any) -> set[str]:
    """Every option a command understands, with the global ones."""
    found = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return {name for name in found if name.startswith("-")} | set(GLOBAL)


def _params(command: Any) -> list[Any]:
    hidden = {"install_completion", "show_completion", "help"}
    return [param for param in command.params if param.name not in hidden]


def _usage(path: str, command: Any) -> str:
    params = _params(command)
    options = " [OPTIONS]" if any(p.param_type_name == "option" for p in params) else ""
    arguments = [_argument(p) for p in params if p.param_type_name == "argument"]
    return " ".join([path + options, *arguments])


def _argument(param: Any) -> str:
    name = (param.metavar or param.name.upper()).strip("[]")
    if param.nargs == -1 and not name.endswith("..."):
        name += "..."
    return name if param.required else f"[{name}]"


def _metavar(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _row(param: Any) -> str:
    if param.param_type_name == "argument":
        left = _argument(param)
    else:
        metavar = "" if param.is_flag else f" {_metavar(param)}"
        left = ", ".join(param.opts) + metavar
    text = (param.help or "").replace("|", "\\|").replace("\n", " ")
    return f"| `{left}` | {text} |"
