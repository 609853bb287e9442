"""Nothing becomes markup by being shown, and nothing stays hidden."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from grpokit.report.markup import Html, block, join, marked, table, tag, visible

BIDI = "a\u202eb\x1b[31m\x00\ud800\u2028\x7f\u200b"
SHOWN = "aU+202Eb␛[31m␀U+D800U+2028␡U+200B"


class Seen(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hidden_characters_are_named() -> None:
    assert visible(BIDI) == SHOWN
    assert visible("a\n\tb\u200d") == "a\n\tb\u200d"
    assert visible("é 你 🎉") == "é 你 🎉"


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "</p><script>", '"&', BIDI])
def test_text_is_no_markup(text: str) -> None:
    seen = Seen(tag("p", text, title=text))
    assert [name for name, _ in seen.tags if name != "span"] == ["p"]
    assert seen.text == visible(text)
    assert seen.tags[0][1] == {"title": visible(text)}


def test_what_is_hidden_stands_in_a_box() -> None:
    assert marked("a\x1b<") == 'a<span class="ctl">␛</span>&lt;'


def test_markup_is_kept_and_attributes_can_be_left_out() -> None:
    made = tag("a", Html("<b>x</b>"), "<", class_="k", data_run=0, hidden=True, id=None)
    assert made == '<a class="k" data-run="0" hidden><b>x</b>&lt;</a>'
    assert tag("path", d="M0 0") == '<path d="M0 0"/>'
    assert join(["<", Html("<i></i>")]) == "&lt;<i></i>"


def test_a_table_has_its_numbers_on_the_right() -> None:
    made = table(["name", ">share"], [("<a>", 0.5)])
    assert '<th class="num" scope="col">share</th>' in made
    assert "<td>&lt;a&gt;</td>" in made
    assert '<td class="num">0.5</td>' in made


def test_data_cannot_end_its_element() -> None:
    data = {"text": "</script><!--<script>&\u2028\u2029"}
    made = block(data, "x")
    inside = made.removeprefix('<script type="application/json" class="x">').removesuffix(
        "</script>"
    )
    assert not set(inside) & set("<>&\u2028\u2029")
    assert json.loads(inside) == data
    with pytest.raises(ValueError, match="Out of range"):
        block(float("nan"), "x")
