"""The entry point: global options, and the one place where errors become messages and exit codes.

Exit codes are those of :class:`grpokit.errors.ExitCode`. A mistake of the user never prints a
traceback; ``--debug`` or ``GRPOKIT_DEBUG=1`` shows it.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import IO, Annotated, Any

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from grpokit import __version__
from grpokit.cli.commands import COMMANDS, LazyGroup
from grpokit.errors import ExitCode, GrpokitError, PreflightError, RecipeError

__all__ = ["app", "main", "run"]

REFUSALS = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EMFILE,
        errno.ENFILE,
    }
)
"""What the system refuses: rights, space, names, broken disks."""

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Train a language model with GRPO-style reinforcement learning from one recipe file.",
    epilog="Start with: grpokit recipes list, grpokit plan quickstart, grpokit train quickstart",
)


def _version(value: bool) -> None:
    if value:
        from grpokit.cli.render import say

        say(f"grpokit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    pass


def run() -> None:
    """The console script."""
    prepare_process()
    sys.exit(main(sys.argv[1:]))


def prepare_process() -> None:
    """What a process of grpokit sets before it imports anything more."""
    # Plugins of pydantic instrument models; looking for them scans every installed package once
    # more, a tenth of a command's start-up.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    # Imports make many objects and no garbage; looking for it costs as much again.
    gc.set_threshold(50_000, 20, 20)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed by who started us, as some schedulers do
            setattr(sys, name, _nowhere(number))
    for stream in (sys.stdout, sys.stderr):
        # A terminal or file that cannot show a character must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere(number: int) -> IO[str]:
    """A stream to nobody. The lowest free number is its usual one, which no file of ours may get."""
    found = os.open(os.devnull, os.O_RDWR)
    os.set_inheritable(found, found == number)
    return open(found, "r" if number == 0 else "w", encoding="utf-8")  # noqa: PTH123  # for good


def main(args: Sequence[str]) -> int:
    """Runs one command and returns its exit code."""
    debug, rest = _take_debug(list(args))
    return guarded(lambda: _dispatch(rest), rest, debug=debug)


def guarded(work: Callable[[], int], args: list[str], *, debug: bool) -> int:
    """``work``'s exit code; its errors as messages and exit codes."""
    # The top of the command line: nothing above it could handle an exception any better.
    try:
        code = work()
        sys.stdout.flush()
    except BrokenPipeError:
        code = _reader_gone()
    except GrpokitError as error:
        if debug:
            traceback.print_exc()
        code = _say_error(error)
    except KeyboardInterrupt:
        code = ExitCode.SIGINT
    except OSError as error:
        code = _system_says(error, args, debug=debug)
    except Exception as error:  # noqa: BLE001  (CLI top)
        code = _unexpected(error, args, debug=debug)
    return int(code)


def _take_debug(args: list[str]) -> tuple[bool, list[str]]:
    """``--debug`` is understood before the command, and after it where the command is core's."""
    debug = os.environ.get("GRPOKIT_DEBUG", "") not in ("", "0")
    if not any(arg in COMMANDS for arg in args[: 1 + args.count("--debug")]):
        return debug or args[:1] == ["--debug"], args
    end = args.index("--") if "--" in args else len(args)
    kept = [arg for arg in args[:end] if arg != "--debug"]
    return debug or len(kept) < end, kept + args[end:]


def _dispatch(args: list[str]) -> int:
    command = get_command(app)
    try:
        # Typer answers Exit with a number and Ctrl-C with 130 in this mode; errors come through.
        result: Any = command.main(args=args, prog_name="grpokit", standalone_mode=False)
    except TyperException as error:
        return _say_usage(error)
    except typer.Abort:
        return ExitCode.SIGINT
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        return _exit_code(end)
    return result if isinstance(result, int) else ExitCode.OK


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or ExitCode.OK
    from grpokit.cli.render import warn

    warn(end.code)
    return ExitCode.BUG


def _say_usage(error: TyperException) -> int:
    from grpokit.cli.render import warn

    context = getattr(error, "ctx", None)
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        if message.strip():
            warn(message)
        return ExitCode.USAGE
    if context is not None:
        warn(context.get_usage())
        message += f" See `{context.command_path} --help`."
    warn(f"error: {message}", "red")
    return error.exit_code


def _say_error(error: GrpokitError) -> int:
    from grpokit.cli.render import problems, warn

    if isinstance(error, RecipeError | PreflightError) and error.problems:
        problems(error.problems)
    warn(f"error: {error}", "red")
    return error.exit_code


def _system_says(error: OSError, args: list[str], *, debug: bool) -> int:
    """A full disk or a folder that may not be read is nobody's bug, wherever it shows."""
    if error.errno not in REFUSALS or debug:
        return _unexpected(error, args, debug=debug)
    from grpokit.cli.render import warn

    place = f"{error.filename}: " if error.filename else ""
    warn(f"error: {place}{error.strerror}; --debug shows where", "red")
    return ExitCode.STORAGE


def _unexpected(error: Exception, args: list[str], *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    else:
        from grpokit.cli.crash import report_crash

        report_crash(error, args)
    return ExitCode.BUG


def _reader_gone() -> int:
    """``grpokit ... | head``: the reader has enough. Python must not complain at exit either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.__stdout__):
        try:
            if stream is not None:
                os.dup2(nowhere, stream.fileno())
        except (OSError, ValueError, AttributeError):
            continue
    return ExitCode.SIGPIPE
