"""What a written report holds, read as a browser reads it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from grpokit.report.reading import RunData, read_for_page
from grpokit.report.rollouts import Rollouts, pack
from saved_runs import completion, group, saved_run

__all__ = ["HOSTILE", "Page", "packed", "read_page", "unpacked", "varied_groups"]

HOSTILE = (
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror=\"window.pwned = 2; alert('x')\">",
    "\x1b[31mred\x1b[0m \x1b]8;;https://example.com\x07link",
    "right \u202eto left\u202c \u2066isolated\u2069",
    "lone \ud800 surrogate and \udfff",
    "nul \x00 and \u2028 and \u2029 and \ufeff",
    "<!--<script>",
    "{{7*7}} ${7*7} javascript:alert(1)",
    "é 你好 🎉 \u0645\u0631\u062d\u0628\u0627",
)
_BLOCK = re.compile(
    r'<script type="application/octet-stream" class="(\w+)" data-run="(\d+)">([\w+/=]*)</script>'
)


def varied_groups(steps: int, prompts: int = 2, size: int = 4) -> list[dict[str, Any]]:
    """Groups with rewards `exact` and `format` that differ, and a prompt that comes again each step."""
    found = []
    for step in range(1, steps + 1):
        for index in range(prompts):
            rows = []
            for g in range(size):
                right, formed = (step + g) % 3 == 0, (g + index) % 2 == 0
                text = f"step {step} thinks about {index}: answer {g if right else 'none'}"
                rows.append(
                    completion(
                        g,
                        text + ("..." if g == 3 else ""),
                        0.9 * right + 0.1 * formed,
                        advantage=g - 1.5,
                        exact=float(right),
                        format=float(formed),
                    )
                )
            found.append(group(step, index, "a", rows))
    return found


def packed(
    folder: Path, groups: Sequence[Mapping[str, Any]], *, limit: int = 10**6, **sections: Any
) -> tuple[RunData, Rollouts, bytes]:
    """A run with these groups, and what the page would hold of them."""
    run = read_for_page(saved_run(folder, groups, **sections))
    spool = folder / "spool"
    with spool.open("wb") as file:
        found = pack(run, 0, file, limit=limit, shown=lambda *_: None)
    return run, found, spool.read_bytes()


def unpacked(written: bytes | str, place: int = 0) -> list[dict[str, Any]]:
    """The completions of one run of the page, in their order, as the script sees them."""
    text = written.decode() if isinstance(written, bytes) else written
    parts: dict[str, list[Any]] = {"columns": [], "texts": []}
    for kind, run, data in _BLOCK.findall(text):
        if int(run) == place:
            parts[kind].append(json.loads(gzip.decompress(base64.b64decode(data))))
    prompts: list[dict[str, Any]] = []
    rows = []
    for columns, texts in zip(parts["columns"], parts["texts"], strict=True):
        for (key, index), (messages, answer) in zip(
            columns["prompts"], texts["prompts"], strict=True
        ):
            prompts.append({"id": key, "index": index, "messages": messages, "answer": answer})
        for i, one in enumerate(texts["texts"]):
            numbers = {key: columns[key][i] for key in "sgtflakdx"}
            rewards = {name: values[i] for name, values in columns["rewards"].items()}
            errors = texts["errors"].get(str(i), {})
            prompt = prompts[columns["p"][i]]
            rows.append(
                {**numbers, "text": one, "rewards": rewards, "prompt": prompt, "errors": errors}
            )
    return rows


@dataclass(eq=False)
class Page(HTMLParser):
    """Elements with their attributes, text outside scripts, and the inline script and style."""

    source: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    inline: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._open = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag in ("script", "style"):
            self._open = tag if "type" not in found else "data"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "":
            self.words.append(data)
        elif self._open != "data":
            self.inline[self._open] = self.inline.get(self._open, "") + data

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def titles(self) -> list[str]:
        """Of the pictures."""
        return re.findall(r"<figcaption><b>(.*?)</b>", self.source)


def read_page(path: Path) -> Page:
    return Page(path.read_text("utf-8"))
