"""The checks of the snippets find what is wrong: one bad snippet of each kind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from doc_pages import ROOT, anchors, blocks, links

PAGE = """# A page

```python
assert 1 == 2
```

```yaml
rolout: {group: 2}
```

```console
$ grpokit recipes check quickstart
quickstart: bad
$ grpokit recipes check no-such-recipe
```

```bash
grpokit train quickstart --stepz 3
grpokit train no-such-recipe
grpokit --no-such-option
make nothing
pip install something-else
rm -r /nowhere
```

<!-- not run: it is wrong on purpose -->
```python
assert 1 == 3
```

```python
value = 4
```

```python
assert value == 4
```
"""


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.md").write_text(PAGE, "utf-8")
    search = [str(ROOT / "docs"), str(ROOT / "tests/helpers")]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/helpers/doc_runner.py"), "page.md"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(search)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "line 3: AssertionError",
        "has no key `rolout`",
        "the page shows 'quickstart: bad'",
        "line 11: exit code 2",
        "grpokit train has no option --stepz",
        "its recipe does not check",
        "grpokit --no-such-option: exit code 2",
        "make has no target nothing",
        "something-else: not a distribution of ours",
        "nobody checks the command 'rm -r /nowhere'",
    ],
)
def test_it_finds(problems: str, text: str) -> None:
    assert text in problems


def test_it_finds_nothing_else(problems: str) -> None:
    assert problems.count("PROBLEM") == 10, problems
    assert "ran 6 blocks" in problems


def test_blocks_and_their_directives() -> None:
    text = "<!-- file: a/b.py -->\n```python\nx = 1\n```\n\n```\nplain\n```\n"
    found = [(block.line, block.lang, block.kind, block.what, block.text) for block in blocks(text)]
    assert found == [(2, "python", "file", "a/b.py", "x = 1\n"), (6, "", "", "", "plain\n")]


def test_links_and_headings() -> None:
    text = (
        "# One: `two`\n[a](b.md#c) ![p](q.svg) [far](https://x.y) `[no](n.md)`\n```\n[z](z)\n```\n"
    )
    assert list(links(text)) == ["b.md#c", "q.svg"]
    assert anchors(text) == {"one-two"}
