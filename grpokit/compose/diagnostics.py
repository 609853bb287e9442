"""What can be wrong with a recipe: one line a problem, each with a code, a place and a remedy."""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from grpokit.compose.nodes import Mark
from grpokit.errors import ExitCode, RecipeError

__all__ = ["CODES", "Diagnostic", "RecipeProblems", "Report", "clip", "did_you_mean", "shown"]

CODES: dict[str, str] = {
    "F101": "The recipe file, or the recipe of that name, does not exist.",
    "F102": "The path is a folder or a device, not a recipe file.",
    "F103": "The file cannot be read.",
    "F104": "The file is larger than a recipe may be.",
    "F105": "The file is binary.",
    "F106": "The file is not UTF-8 text.",
    "F107": "The file begins with a byte-order mark.",
    "F108": "The lines of the file end with a carriage return.",
    "F109": "The file is empty, or holds only comments.",
    "F110": "The file holds a control character.",
    "Y201": "The text is not YAML.",
    "Y202": "A tab indents a line; YAML allows only spaces there.",
    "Y203": "A mapping has the same key twice.",
    "Y204": "A value has a YAML tag; recipes are plain data.",
    "Y205": "Anchors and aliases go beyond what a recipe may use.",
    "Y206": "An alias names no finished anchor.",
    "Y207": "The YAML merge key `<<` is used; recipes inherit with `extends`.",
    "Y208": "The file holds more than one YAML document.",
    "Y209": "The value is nested too deeply.",
    "Y210": "The file holds too many values.",
    "Y211": "A key is not text.",
    "Y212": "The top of the file is not a mapping.",
    "Y213": "A number has a leading zero, which YAML 1.1 and 1.2 read differently.",
    "Y214": "A number has too many digits.",
    "Y215": "The file asks for another version of YAML, or declares tags.",
    "Y216": "A value has unquoted braces, which YAML reads as a mapping.",
    "X301": "`extends` is neither a name nor a list of names.",
    "X302": "A recipe that is extended cannot be found or read.",
    "X303": "Recipes extend each other in a circle.",
    "X304": "The chain of extended recipes is too long.",
    "X305": "A `--set` is not of the form key=value.",
    "X306": "A `--set` names a key that does not exist.",
    "K401": "A key is unknown.",
    "K402": "A required key is missing.",
    "K403": "A value has the wrong type.",
    "K404": "Text stands where a number is asked for.",
    "K405": "A value other than true and false stands where one of them is asked for.",
    "K406": "A number is out of range.",
    "K407": "A number is infinite or not a number.",
    "K408": "A value is none of the allowed ones.",
    "K409": "A list or a text is too short or too long.",
    "K410": "A text does not have the asked form.",
    "K411": "A value breaks a rule of its component.",
    "K412": "The version of the recipe format is missing or not supported.",
    "C501": "No installed component has this name.",
    "C502": "The name belongs to a component of another kind.",
    "C503": "Several installed components have this name.",
    "C504": "The plugin that holds this component cannot be used.",
    "C505": "The component has no settings.",
    "C506": "The settings of the component cannot be checked, because its code fails.",
    "C507": "Code is named by path; recipes name registered components only.",
    "C508": "The part's axis is unknown, or belongs to another axis.",
    "C509": "The prompt template is unknown.",
    "C510": "The backend does not provide what another part of the recipe needs.",
    "C511": "Another trainer's reward cannot be found, or is not of the form that its name says.",
    "C512": "Another trainer's reward would be imported; `--allow-foreign-rewards` agrees to it.",
    "C513": "How another trainer's reward is read (note).",
    "R601": "Two rewards have the same name.",
    "R602": "No reward has a weight other than 0.",
    "R603": "The group is too small for the algorithm.",
    "R604": "`eval.correct` names no reward.",
    "R605": "There are more optimiser parts than completions.",
    "R606": "The warm-up is as long as the run or longer.",
    "R607": "Adapters are asked for, but no module gets one.",
    "R608": "A micro-batch is larger than what is trained on (note).",
    "R609": "A few-shot example lacks its question or its answer.",
    "R610": "A prompt template uses a column that the data set does not have, or none at all.",
    "R611": "A reward or a sampler asks for a column that the data set does not have.",
    "R612": "`columns` maps from a column that the data set does not have.",
    "R613": "Every completion of a group would be the same.",
    "R614": "Full fine-tuning keeps its weights in float32.",
    "R615": "No completion can reach the score from which it counts as correct.",
    "R616": "A key has no effect beside another one (note).",
    "R617": "Training and evaluation use the same rows (note).",
    "R618": "Evaluation during training has no data set.",
    "R619": "A prompt template is malformed.",
    "R620": "The data set has fewer rows than one step needs (note).",
    "R621": "Two parts of the algorithm make no sense together.",
    "R622": "A setting does not fit the prompts and completions of a step.",
    "R623": "A setting of the algorithm names a reward that the recipe does not have.",
    "R624": "There are more processes than prompts of a step.",
    "R625": "The prompts of a step cannot be shared evenly (note).",
    "R626": "Several processes draw no round ahead.",
    "R627": "Several greedy answers to a question would be the same.",
    "R628": "More answers are needed for pass@k.",
}
"""Every code, with one sentence. The reference is generated from here.

F: the file. Y: its YAML. X: inheritance and overrides. K: keys and values. C: components.
R: rules between values; those marked (note) do not stop a run.
"""


_NOT_THE_RECIPE = frozenset({"C504", "C506"})


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One problem: ``file:line:col: CODE what is wrong; what is allowed; what to do``.

    Attributes:
        level: ``error``, or ``note`` for something that does not stop a run.
    """

    code: str
    message: str
    allowed: str = ""
    remedy: str = ""
    file: str = ""
    line: int = 0
    col: int = 0
    level: str = "error"

    @property
    def place(self) -> str:
        return str(Mark(self.file, self.line, self.col))

    def __str__(self) -> str:
        note = "note: " if self.level == "note" else ""
        parts = [part for part in (self.message, self.allowed, self.remedy) if part]
        return f"{self.place}: {self.code} {note}{'; '.join(parts)}"


class RecipeProblems(RecipeError):
    """A recipe with problems. ``problems`` are their lines, ``diagnostics`` the same as data."""

    def __init__(self, fact: str, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(fact, problems=tuple(map(str, diagnostics)))
        self.diagnostics = diagnostics
        if diagnostics and all(item.code in _NOT_THE_RECIPE for item in diagnostics):
            self.exit_code = ExitCode.PREFLIGHT


class Report:
    """Collects diagnostics, so that all of them are told at once, or the first ``MOST``."""

    MOST = 100

    def __init__(self) -> None:
        self._items: dict[Diagnostic, None] = {}
        self.more = 0
        """Problems that were left out."""

    def add(
        self,
        code: str,
        mark: Mark,
        message: str,
        *,
        allowed: str = "",
        remedy: str = "",
        note: bool = False,
    ) -> None:
        """Adds one problem. The code must be in ``CODES``."""
        assert code in CODES, code
        item = Diagnostic(
            code=code,
            message=message,
            allowed=allowed,
            remedy=remedy,
            file=mark.file,
            line=mark.line,
            col=mark.col,
            level="note" if note else "error",
        )
        self.extend([item])

    def extend(self, items: Iterable[Diagnostic]) -> None:
        for item in items:
            if item in self._items:
                continue
            if len(self._items) < self.MOST:
                self._items[item] = None
            else:
                self.more += 1

    @property
    def items(self) -> tuple[Diagnostic, ...]:
        """All of them, sorted by file, line and column."""
        return tuple(sorted(self._items, key=lambda d: (d.file, d.line, d.col, d.code)))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(item for item in self.items if item.level == "error")

    @property
    def notes(self) -> tuple[Diagnostic, ...]:
        return tuple(item for item in self.items if item.level == "note")

    def fail(self, name: str) -> RecipeProblems:
        """The error that carries every problem. A recipe that is right but for a plugin that does
        not work here ends with the preflight code, because its text needs no change.
        """
        count = "1 problem" if len(self.errors) == 1 else f"{len(self.errors)} problems"
        if self.more:
            count += f" and {self.more} more"
        return RecipeProblems(f"{count} in {clip(name, 200)}", self.errors)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean `group`?``, or nothing when nothing is near."""
    names = list(known)
    near = difflib.get_close_matches(word[:100], names, n=2, cutoff=0.6)
    if not near:  # a shortened or lengthened name, such as `max_completion_tokens`
        near = [name for name in names if len(word) > 3 and (word in name or name in word)][:2]
    return f"did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""


def clip(text: str, limit: int = 60) -> str:
    """Text of a recipe, made safe to print: no control characters, not too long."""
    clean = "".join(
        char if char.isprintable() and unicodedata.category(char) != "Cf" else " "
        for char in text[: limit + 1]
    )
    return clean if len(text) <= limit else clean[: limit - 1] + "…"


def shown(value: Any) -> str:
    """A value as a recipe writes it, short enough for a message."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return clip(json.dumps(value, ensure_ascii=False))
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return clip(str(value))
