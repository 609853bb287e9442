"""Completions that rewards can tell apart: the rows' gold answers, written as the rewards want them.

A random model never earns anything, every group is then dead, and no gradient could be seen. So some of
its completions give way to a right answer and to a wrong one, which the recipe's own rewards then score
like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grpokit.probes.expand import Case, make_cases
from grpokit.probes.gold import choose_way, gold_column, gold_of
from grpokit.probes.library import Way, ways
from grpokit.probes.measure import Bench
from grpokit.scoring.scorer import Scorer
from grpokit.spec.flow import Prompt

__all__ = ["Gold"]

ROWS = 3
"""Rows on which the ways to write an answer are compared."""
MADE_UP = "42"
"""An answer where rows have none: rewards for form see the form."""


@dataclass
class Gold:
    """What the rewards of a recipe take for an answer. A plan calls it while its workers run."""

    template: str = "plain"
    column: str | None = None
    way: Way | None = None

    def __call__(self, scorer: Scorer, prompts: Sequence[Prompt], hint: str) -> None:
        columns = tuple(prompts[0].row) if prompts else ()
        self.column = gold_column(scorer.setups, scorer.asked(), columns)
        cases = [case for prompt in prompts[:ROWS] if (case := self._case(prompt))]
        if cases:
            self.way, _ = choose_way(Bench(scorer), cases, self.template, hint)

    def texts(self, prompt: Prompt) -> tuple[str, str]:
        """A right and a wrong answer to a question."""
        case, way = self._case(prompt), self.way or ways()[0]
        return way.write(case.gold), way.write(case.wrong)

    def _case(self, prompt: Prompt) -> Case:
        gold = gold_of(prompt.row, self.column) if self.column else ""
        return make_cases([prompt], [gold or MADE_UP])[0]
