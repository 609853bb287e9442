"""Hostile text stays text, and tables and JSON are readable by people and machines."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from grpokit.cli import render

HOSTILE = {
    "colour": ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    "title": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "link": ("\x1b]8;;http://x\x1b\\y", "\\x1b]8;;http://x\\x1b\\y"),
    "c1": ("\x9b31m", r"\x9b31m"),
    "bidi": ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
    "surrogate": ("\ud800x", r"\ud800x"),
    "return": ("safe\rEVIL", r"safe\rEVIL"),
    "backspace": ("abc\b\b\b", r"abc\x08\x08\x08"),
    "separator": ("a\u2028b", r"a\u2028b"),
    "tags": ("a\U000e0041", r"a\U000e0041"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_becomes_visible(name):
    raw, shown = HOSTILE[name]
    assert render.safe(raw) == shown


@pytest.mark.parametrize(
    "kept", ["", "plain [/INST] [red]", "naïve 数学 👩‍🔬 \\boxed{3}", "a\n\tb"]
)
def test_harmless_text_is_unchanged(kept):
    assert render.safe(kept) == kept


def test_long_text_is_cut_and_says_so():
    assert render.safe("x" * 50, limit=10) == "x" * 10 + " ... (40 more characters)"
    assert render.safe("a\nb\tc", one_line=True) == "a\\nb c"


def test_no_byte_below_space_reaches_the_stream():
    everything = "".join(map(chr, range(0x3000))) + "\ud9ff\U000e0020\u2066"
    shown = render.safe(everything, limit=100_000)
    shown.encode()  # no surrogate is left
    assert not [c for c in shown if c < " " and c not in "\n\t"]
    assert not set("\x1b\x7f\x85\x9b\u061c\u200e\u200f\u202a\u202b\u202d\u202e\ufeff") & set(shown)


def test_markup_is_printed_as_it_is(capsys):
    render.say("[bold]no[/bold] [/INST] :smile:", "green")
    render.table(["name", ">n"], [["[red]x[/red]", 3]])
    assert capsys.readouterr().out.splitlines() == [
        "[bold]no[/bold] [/INST] :smile:",
        "name          n",
        "[red]x[/red]  3",
    ]


def test_plain_table_is_neither_folded_nor_cut(capsys):
    render.table(["a", "b"], [["x" * 250, "y\nz"]], title="Two")
    assert capsys.readouterr().out.splitlines() == [
        "Two",
        "a" + " " * 251 + "b",
        "x" * 250 + "  y\\nz",
    ]


def test_problems_go_to_stderr(capsys):
    render.problems(["a:1:2: E001 \x1b[2J"])
    out, err = capsys.readouterr()
    assert (out, err) == ("", "a:1:2: E001 \\x1b[2J\n")


def test_json_is_ascii_valid_and_knows_our_types(capsys):
    @dataclass(frozen=True)
    class Thing:
        path: Path
        names: frozenset[str]
        number: float

    render.print_json({"t": Thing(Path("a/b"), frozenset("ba"), float("nan")), "x": "\x9b\ud800é"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {
        "t": {"path": "a/b", "names": ["a", "b"], "number": None},
        "x": "\x9b\ud800é",
    }


def test_live_is_absent_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with render.live() as view:
        assert view is None


SCRIPT = """
from grpokit.cli import render
render.say("head [/x] \\x1b[2J", "bold red")
render.table(["name", "what"], [["[red]x", "word " * 30]])
with render.live() as view:
    assert view is not None
    view.update(render.stack("[b]reward", render.progress_bar(1, 2), render.grid([["a", "b"]])))
    view.print("sample \\x1b]0;t\\x07")
"""


@pytest.mark.parametrize("no_color", [False, True])
def test_a_real_terminal(no_color):
    primary, secondary = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "40", "LANG": "C.UTF-8"}
    if no_color:
        environ["NO_COLOR"] = "1"
    done = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=secondary, stderr=secondary, env=environ
    )
    os.close(secondary)
    shown = b""
    while True:
        try:
            chunk = os.read(primary, 65536)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(primary)
    assert done.wait(30) == 0, shown.decode()
    text = shown.decode()
    assert r"head [/x] \x1b[2J" in text
    assert r"sample \x1b]0;t\x07" in text
    assert "\x1b[2J" not in text
    assert "\x1b]0;" not in text
    assert text.count("word") == 30
    assert "[red]x" in text
    assert ("\x1b[1;31m" in text) is not no_color
    table = re.sub(
        "\x1b\\[[0-9;?]*[a-zA-Z]", "", text[text.index("name") : text.index("\x1b[?25l")]
    )
    assert max(map(len, table.splitlines())) <= 40
