"""A tiny model that writes answers by chance: many of its tokens are ``#### 7`` or hold a line's end."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_model import LETTERS

__all__ = ["give_answers"]


def give_answers(folder: Path) -> Path:
    """Renames upper-case letters of a tiny model's tokenizer; returns the folder."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    upper = [letter for letter in LETTERS if letter.isupper()]
    names = {letter: f"#### {n}" if n % 2 else f" {n}\n" for n, letter in enumerate(upper)}
    vocabulary = data["model"]["vocab"]
    data["model"]["vocab"] = {names.get(word, word): index for word, index in vocabulary.items()}
    path.write_text(json.dumps(data))
    return folder
