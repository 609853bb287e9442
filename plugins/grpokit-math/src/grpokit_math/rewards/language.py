"""Mixed scripts in a completion, as models under reinforcement learning produce them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from grpokit.api import Config

__all__ = ["MixConfig", "language_mix", "script_of"]

Script = Literal[
    "latin", "greek", "cyrillic", "hebrew", "arabic", "devanagari", "thai", "kana", "hangul", "han"
]

_BLOCKS: tuple[tuple[int, int, str], ...] = (
    (0x41, 0x24F, "latin"),
    (0x250, 0x2AF, "latin"),
    (0x370, 0x3FF, "greek"),
    (0x400, 0x52F, "cyrillic"),
    (0x590, 0x5FF, "hebrew"),
    (0x600, 0x6FF, "arabic"),
    (0x750, 0x77F, "arabic"),
    (0x8A0, 0x8FF, "arabic"),
    (0x900, 0x97F, "devanagari"),
    (0xE00, 0xE7F, "thai"),
    (0x1100, 0x11FF, "hangul"),
    (0x1E00, 0x1EFF, "latin"),
    (0x1F00, 0x1FFF, "greek"),
    (0x2100, 0x214F, "latin"),
    (0x2DE0, 0x2DFF, "cyrillic"),
    (0x3040, 0x30FF, "kana"),
    (0x3130, 0x318F, "hangul"),
    (0x31F0, 0x31FF, "kana"),
    (0x3400, 0x4DBF, "han"),
    (0x4E00, 0x9FFF, "han"),
    (0xA640, 0xA69F, "cyrillic"),
    (0xA720, 0xA7FF, "latin"),
    (0xAC00, 0xD7AF, "hangul"),
    (0xF900, 0xFAFF, "han"),
    (0xFB1D, 0xFB4F, "hebrew"),
    (0xFB50, 0xFDFF, "arabic"),
    (0xFE70, 0xFEFF, "arabic"),
    (0xFF21, 0xFF5A, "latin"),
    (0xFF66, 0xFF9F, "kana"),
    (0x1D400, 0x1D7FF, "latin"),
    (0x20000, 0x323AF, "han"),
)
_STARTS = [first for first, _, _ in _BLOCKS]


class MixConfig(Config):
    """Settings of the reward `language-mix`."""

    script: Script = "latin"
    """The script of the wanted language."""
    also: list[Script] = Field(default=["greek"])
    """Further scripts that are welcome: Greek letters are mathematics. Japanese is `kana` with `also: [han, latin]`."""


def language_mix(config: MixConfig) -> Callable[[str], float | None]:
    """Builds the reward ``-(letters of other scripts / letters)`` (SRPO, R1; R33).

    0 for a completion in the wanted scripts, -1 for one wholly in others. Letters of scripts that the
    table does not know are others. Thinking blocks count: mixing happens there first. Digits, signs and
    symbols are no letters; a completion without letters is no language, and the reward abstains.
    """
    wanted = {config.script, *config.also}

    def score(completion: str) -> float | None:
        letters = {char: count for char, count in Counter(completion).items() if char.isalpha()}
        total = sum(letters.values())
        if total == 0:
            return None
        other = sum(count for char, count in letters.items() if script_of(char) not in wanted)
        return -other / total if other else 0.0

    return score


def script_of(char: str) -> str:
    """The script of a letter; "" for one that the table does not know."""
    code = ord(char)
    place = bisect_right(_STARTS, code) - 1
    if place < 0 or code > _BLOCKS[place][1]:
        return ""
    return _BLOCKS[place][2]
