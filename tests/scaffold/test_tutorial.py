"""docs/tutorial-reward.md, done by the letter: every command and every edit, in the page's order."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from doc_pages import ROOT, blocks

sys.path.insert(0, str(ROOT / "docs"))  # for doc_runner, as tests/docs run it

from doc_runner import missing, split

PAGE = ROOT / "docs" / "tutorial-reward.md"
PLUGIN = ROOT / "plugins" / "grpokit-example-reward"


def test_the_page_ends_in_the_plugin_of_this_repository() -> None:
    """What the reader has in the end is what the repository has."""
    edits = {block.what: block.text for block in found() if block.kind == "edit"}
    assert len(edits) == 5
    for path, text in edits.items():
        assert (PLUGIN / path).read_text("utf-8") == text, path


def test_the_tutorial(fresh: Any, tmp_path: Path) -> None:
    cwd, code, ran = tmp_path, 0, 0
    for block in found():
        if block.kind == "edit":
            assert (cwd / block.what).is_file(), block.what
            (cwd / block.what).write_text(block.text, "utf-8")
        elif block.kind == "" and block.lang == "console":
            for command, expected in split(block.text):
                ran += 1
                if command == "echo $?":
                    assert expected == [str(code)], f"line {block.line}"
                    code = 0
                    continue
                assert code == 0, f"line {block.line}: exit code {code}, and no `echo $?` shows it"
                if command.startswith("cd "):
                    cwd = (cwd / command.removeprefix("cd ")).resolve()
                    assert cwd.is_relative_to(tmp_path)
                    continue
                done = fresh.run(command, cwd)
                code = done.returncode
                assert code in (0, 3), f"line {block.line}: {command}\n{done.stdout}"
                problems = list(missing(expected, done.stdout))
                assert not problems, f"line {block.line}: {problems}"
    assert code == 0
    assert ran > 12
    (recipe,) = [b.text for b in found() if b.lang == "yaml" and not b.kind]
    (tmp_path / "mine.yaml").write_text(recipe)
    assert "mine.yaml: ok" in fresh.ok("grpokit recipes check mine.yaml", tmp_path)
    fresh.ok("pip uninstall --quiet -y grpokit-example-reward", tmp_path)


def test_the_table_of_kinds_is_that_of_the_templates() -> None:
    from grpokit.scaffold.names import read_name
    from grpokit.scaffold.write import KINDS, package_files

    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)`(?:: `(\w+)`)? \|", PAGE.read_text(), re.MULTILINE)
    assert [kind for kind, _, _ in rows] == list(KINDS)
    for kind, file, function in rows:
        name = f"src/grpokit_x/{file.replace('NAME', 'x')}"
        assert f"def {function}(" in package_files(kind, read_name("x"))[name] or not function


def found() -> list[Any]:
    return blocks(PAGE.read_text("utf-8"))
