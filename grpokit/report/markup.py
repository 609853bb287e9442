"""HTML that is safe by construction: whatever is no markup already is escaped on its way in.

Control characters, bidirectional controls, other invisible format characters and lone surrogates are
shown as what they are, in a box: ``␛``, ``U+202E``. The page's script shows completions by the same rule.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["Html", "block", "join", "marked", "table", "tag", "visible"]

_KEEP = frozenset("\n\t\u200c\u200d")  # the joiners belong to emoji and Indic scripts
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_VOID = frozenset({"meta", "br", "input", "line", "path", "circle", "rect"})
_IN_SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


class Html(str):
    """Markup. A plain string beside it is text."""

    __slots__ = ()


def _named(char: str) -> str:
    """A picture of a control character, else its code point."""
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"U+{code:04X}"


def _is_hidden(char: str) -> bool:
    return char not in _KEEP and unicodedata.category(char) in _HIDDEN


def visible(value: object) -> str:
    """Plain text in which nothing is hidden: for attributes, and inside pictures."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(_named(char) if _is_hidden(char) else char for char in text)


def marked(value: object) -> Html:
    """Text as markup: escaped, hidden characters in boxes."""
    text = str(value)
    if text.isprintable():
        return Html(escape(text))
    return Html(
        "".join(
            f'<span class="ctl">{_named(char)}</span>' if _is_hidden(char) else escape(char)
            for char in text
        )
    )


def join(parts: Iterable[object]) -> Html:
    """Parts one after the other, each escaped unless it is markup."""
    return Html("".join(part if isinstance(part, Html) else marked(part) for part in parts))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. ``class_`` is class, ``data_x`` is data-x; None and False leave an attribute out."""
    listed = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        written = key.rstrip("_").replace("_", "-")
        listed.append(f" {written}" if value is True else f' {written}="{escape(visible(value))}"')
    start = f"<{name}{''.join(listed)}"
    return Html(f"{start}/>" if name in _VOID else f"{start}>{join(children)}</{name}>")


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """A table. A heading that starts with ``>`` is of numbers, which stand on the right."""
    names = [str(head) for head in heads]
    kinds = ["num" if name.startswith(">") else None for name in names]
    cells = zip(names, kinds, strict=True)
    top = tag("tr", *(tag("th", n.removeprefix(">"), class_=k, scope="col") for n, k in cells))
    body = [
        tag("tr", *(tag("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)))
        for row in rows
    ]
    whole = tag("table", tag("thead", top), tag("tbody", *body))
    return tag("div", whole, class_="scroll", tabindex="0")


def block(data: object, kind: str) -> Html:
    """Data for the script: no browser runs it, and nothing in it can end it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).translate(_IN_SCRIPT)
    return Html(f'<script type="application/json" class="{escape(kind)}">{text}</script>')
