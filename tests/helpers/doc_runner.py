"""Runs the snippets of one page: ``python doc_runner.py PAGE`` in the folder of the page's project.

Python blocks run one after the other in one namespace. YAML blocks are checked as recipes; one
without ``grpokit: 1`` is laid over the quickstart. Command lines of ``grpokit`` run in this process,
except those that train, evaluate or download: their options and their recipe are checked. Lines
below a command must appear in its output, in their order; ``...`` stands for any.

Prints each problem on a line of its own that begins with ``PROBLEM``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docs_commands import commands, options_of

from doc_pages import ROOT, Block, blocks

HEAVY = {
    ("train",),
    ("eval",),
    ("models", "pull"),
    ("bench", "algorithms"),
    ("bench", "cppo"),
    ("export", "weights"),
}
DISTRIBUTIONS = {
    tomllib.loads(path.read_text())["project"]["name"]
    for path in (ROOT / "pyproject.toml", *(ROOT / "plugins").glob("*/pyproject.toml"))
}


class Runner:
    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {"__name__": "docs"}
        self.commands = {tuple(path.split()[1:]): command for path, command in commands()}
        self.problems: list[str] = []
        self.ran = 0

    def run(self, block: Block) -> None:
        handlers: dict[str, Callable[[Block], Iterator[str]]] = {
            "python": self.python,
            "yaml": self.yaml,
            "console": self.console,
            "bash": self.bash,
        }
        if block.kind or block.lang not in handlers:
            return
        self.ran += 1
        try:
            found = list(handlers[block.lang](block))
        except Exception as error:  # noqa: BLE001  one bad snippet must not hide the next
            found = [f"{type(error).__name__}: {error}"]
        self.problems += [f"line {block.line}: {text}" for text in found]

    def python(self, block: Block) -> Iterator[str]:
        code = compile("\n" * block.line + block.text, "page", "exec")
        exec(code, self.namespace)  # our own documentation
        yield from ()

    def yaml(self, block: Block) -> Iterator[str]:
        text = block.text
        if not re.search(r"^grpokit:", text, re.MULTILINE):
            base = "" if re.search(r"^extends:", text, re.MULTILINE) else "extends: quickstart\n"
            text = f"grpokit: 1\n{base}{text}"
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=".", delete=False) as file:
            file.write(text)
        code, output = captured(["recipes", "check", file.name])
        Path(file.name).unlink()
        if code:
            yield f"the recipe does not check: {output}"

    def console(self, block: Block) -> Iterator[str]:
        code = 0
        output: str | None = None
        for command, expected in split(block.text):
            if command == "echo $?":
                if expected != [str(code)]:
                    yield f"the exit code is {code}, the page says {expected}"
                code = 0
                continue
            if code:
                yield f"exit code {code}, and no `echo $?` shows it: {output}"
            code, output = 0, None
            for found in self.command(command):
                if isinstance(found, str):
                    yield found
                else:
                    code, output = found
            if output is not None:
                yield from missing(expected, output)
        if code:
            yield f"exit code {code}: {output}"

    def bash(self, block: Block) -> Iterator[str]:
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                for found in self.command(line):
                    if isinstance(found, str):
                        yield found
                    elif found[0]:
                        yield f"{line}: exit code {found[0]}: {found[1]}"

    def command(self, line: str) -> Iterator[str | tuple[int, str]]:
        """Problems as text; what a command that ran has answered as (code, output)."""
        name, *args = shlex.split(line, comments=True)
        if name == "grpokit":
            yield from self.grpokit(args)
        elif name == "make":
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            yield from (f"make has no target {each}" for each in args if each not in targets)
        elif name == "pip":
            yield from self.pip(args)
        elif name in ("pytest", "cat", "head", "ls"):
            command = [sys.executable, "-m", "pytest", "-q"] if name == "pytest" else [name]
            done = subprocess.run([*command, *args], capture_output=True, text=True, check=False)
            yield done.returncode, done.stdout + done.stderr
        elif name != "cd" or not Path(args[0]).is_dir():
            yield f"nobody checks the command {line!r}"

    def grpokit(self, args: list[str]) -> Iterator[str | tuple[int, str]]:
        if args[0] == "export" and args[1:] and ("export", args[1]) not in self.commands:
            args = ["export", "weights", *args[1:]]
        key = next((tuple(args[:n]) for n in (2, 1) if tuple(args[:n]) in self.commands), None)
        if key is None:
            yield captured(args)
            return
        if key not in HEAVY:
            yield captured(args)
            return
        given = {arg.partition("=")[0] for arg in args if arg.startswith("-")}
        for option in sorted(given - options_of(self.commands[key])):
            yield f"grpokit {' '.join(key)} has no option {option}"
        if key == ("train",) and len(args) > 1 and not args[1].startswith("-"):
            changes = [f"--set={args[i + 1]}" for i, arg in enumerate(args) if arg == "--set"]
            code, output = captured(["recipes", "check", args[1], *changes])
            if code:
                yield f"its recipe does not check: {output}"

    def pip(self, args: list[str]) -> Iterator[str]:
        """Names that are installed are ours, or folders that are there."""
        for name in args[1:]:
            bare = re.sub(r"\[.*\]$", "", name)
            if not (
                name.startswith("-")
                or bare in DISTRIBUTIONS
                or Path(bare).is_dir()
                or (ROOT / bare).is_dir()
            ):
                yield f"pip install {name}: not a distribution of ours"


def split(text: str) -> list[tuple[str, list[str]]]:
    """Commands (after ``$``) with the lines below them."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:].strip(), []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def missing(expected: list[str], output: str) -> Iterator[str]:
    """Lines that the page shows and the command did not print, or not in this order."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    at = 0
    for line in expected:
        wanted = " ".join(line.split())
        if wanted == "...":
            continue
        pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
        hits = [i for i in range(at, len(lines)) if re.fullmatch(pattern, lines[i])]
        if not hits:
            yield f"the page shows {line!r}; the command printed:\n{output}"
            return
        at = hits[0] + 1


def captured(args: list[str]) -> tuple[int, str]:
    """Runs one command in this process and returns its exit code and all it wrote."""
    from grpokit.cli.main import main

    with tempfile.TemporaryFile() as file:
        saved = [os.dup(1), os.dup(2)]
        sys.stdout.flush()
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            code = main(args)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            for number, copy in enumerate(saved, start=1):
                os.dup2(copy, number)
                os.close(copy)
        file.seek(0)
        return code, file.read().decode()


def _main() -> None:
    runner = Runner()
    page = Path(sys.argv[1])
    for block in blocks(page.read_text(encoding="utf-8")):
        runner.run(block)
    for problem in runner.problems:
        print("PROBLEM", problem)
    print(f"ran {runner.ran} blocks")


if __name__ == "__main__":
    _main()
