"""Questions with numbers as answers, for rewards that are checked without a recipe."""

from __future__ import annotations

from collections.abc import Callable

from grpokit.spec.flow import Prompt

__all__ = ["sample_rows"]

_TEMPLATES: tuple[tuple[str, Callable[[int, int, int], int]], ...] = (
    (
        "A shop has {a} boxes with {b} pens each. It sells {c} pens. How many are left?",
        lambda a, b, c: a * b - c,
    ),
    (
        "It is {a} degrees. Each hour it gets {b} degrees colder. What is it after {c} hours?",
        lambda a, b, c: a - b * c,
    ),
    (
        "{a} people pay {b} coins each, and {c} people pay 1000 coins each. How many coins is that?",
        lambda a, b, c: a * b + 1000 * c,
    ),
    (
        "A rope of {a} metres and one of {b} are joined, and {c} metres are cut off. What is left?",
        lambda a, b, c: a + b - c,
    ),
)


def sample_rows(count: int, *, solutions: bool = False) -> list[Prompt]:
    r"""``count`` rows with the columns question, answer and solution (which ends in a box).

    ``solutions``: the column answer is a worked solution with ``#### `` before the number, as in
    GSM8K's files. Negative and four-digit answers are among them.
    """
    found: list[Prompt] = []
    index = 0
    while len(found) < count:
        prompt = _row(index, len(found), solutions=solutions)
        index += 1
        if prompt is not None:
            found.append(prompt)
    return found


def _row(index: int, place: int, *, solutions: bool) -> Prompt | None:
    """One row; None where the answer stands in the question."""
    a, b, c = 11 + 7 * index % 83, 2 + 5 * index % 17, 1 + 3 * index % 7
    text, solve = _TEMPLATES[index % len(_TEMPLATES)]
    question, answer = text.format(a=a, b=b, c=c), solve(a, b, c)
    if answer in (a, b, c, 1000):
        return None
    worked = f"From {a}, {b} and {c} the result follows.\n#### {answer}"
    row = {
        "question": question,
        "problem": question,
        "answer": worked if solutions else str(answer),
        "solution": f"The result follows. It is $\\boxed{{{answer}}}$.",
    }
    return Prompt(
        id=f"sample-{place}",
        index=place,
        row=row,
        messages=({"role": "user", "content": question},),
    )
