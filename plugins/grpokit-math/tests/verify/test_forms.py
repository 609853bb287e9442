"""Forms in which models write answers, and what looks like them and is something else."""

from __future__ import annotations

import pytest

from grpokit_math.verify import verify

# reference answer: what is equal to it, what is not
FORMS = {
    # Letters that touch are a product; a power belongs to the last one.
    "\\frac{1}{2}mv^2": (["0.5 m v^2", "\\frac{mv^2}{2}"], ["\\frac12 (mv)^2", "\\frac12 m^2v^2"]),
    "xy^2z": (["xzy^2", "x y^2 z"], ["x^2y^2z", "(xy)^2z"]),
    "\\frac{a}{b}": (["ab^{-1}", "a/b"], ["(ab)^{-1}", "b/a"]),
    "\\frac{1}{ab}": (["1/ab", "(ab)^{-1}"], ["b/a", "a^{-1}b"]),
    "x\\sqrt{2}": (["xsqrt(2)", "x sqrt2"], ["xsqrt(3)"]),
    # Groups inside of arguments.
    "\\sqrt{\\frac12}": (["\\frac{\\sqrt2}{2}", "\\frac{1}{\\sqrt{\\frac{2}{1}}}"], ["\\sqrt{12}"]),
    "2": (["\\frac{1}{\\frac12}", "\u221b8", "{2 \\choose 1}", "\\min\\{2,5\\}"], ["\u221b6", "\\max\\{2,5\\}"]),
    "\\log_2 8": (["\\log_28", "\\log_{2}8", "3"], ["\\log_8 2"]),
    # Raised and lowered characters of several digits.
    "x^{12}": (["x\u00b9\u00b2"], ["x\u00b9 2", "x\u00b2"]),
    "10^{-5}": (["10\u207b\u2075", "0.00001"], ["10\u2075"]),
    "101_{10}": (["101\u2081\u2080", "(101)_{10}", "101_{\\text{ten}}"], ["101\u2081", "(101)_2"]),
    "\\frac58": (["\u215d"], ["58"]),
    # Repeating decimals and ellipses.
    "\\frac13": (["0.(3)", "0.\\overline 3", "0.\\bar3"], ["0.333\\ldots", "0.3(4)"]),
    "0": ([], ["0.(3)", "1/\\infty", "0\\cdot\\infty"]),
    "10": (["10.", "10,", "10\\ ", "= 10", ": 10"], ["10..", "10...", "10\u2026", "2.5(4)"]),
    "0.333": ([], ["0.333..."]),
    "1,2,3": (["1,2,3,", "1; 2; 3."], ["1,2,3,\\ldots", "1, 2, 3, ..."]),
    "1,2,3,\\ldots": ([], ["1,2,3"]),
    # Grouped digits.
    "10080": (["10\u00a0080", "10\u202f080"], ["10 080", "10\u00a008"]),
    # Names of what was asked for.
    "18": (
        [
            "f(2) = 18", "m+n = 18", "m + n = 7 + 11 = 18", "|S|=18", "AB = 18", "\\overline{AB}=18",
            "m\\angle ABC = 18^\\circ", "[ABC]=18", "AB = BC = 18", "P(5)=18", "{\\bf 18}", "\\large 18",
        ],
        [
            "2f(2) = 18", "a-b = 18", "a+1=18", "a+a=18", "|x|+1 = 18", "2AB = 18", "AB^2=18", "AB > 18",
            "AB \\ne 18", "NOT = 18", "AB = 17 = 18", "x(2)=18", "m+n=18=19", "-f(2)=18",
        ],
    ),
    "f(x)=x+1": (["y=x+1", "x+1"], ["g(x)=x+1", "y=x"]),
    # Units say what is counted; other words say something about the number.
    "50": (
        [
            "50 families", "50 pieces of candy", "50 pairs of socks", "50 times", "$50 per week", "50 points",
            "50 months", "50 square feet", "50 flies",
        ],
        [
            "50 tenths", "50 thirds", "50 one", "50 forty", "50 twenties", "50 quadrillion", "50 possibly",
            "50 never", "50 cannot", "50 unless", "50 twice", "50 gross", "50 lakh", "50 point five", "50 of",
            "50 out of sixty", "50 hundreds",
        ],
    ),
    "5.4\\text{ cents}": (["5.4\u00a2"], ["\\$5.4", "5.4\\%"]),
    "90^\\circ": (["90\u00b0"], ["90\\%", "\\$90"]),
    "\\$10": (["10 dollars"], ["10\\%", "10\u00a2"]),
    # Sets of numbers.
    "(2,\\infty)": (["\\{x : x>2\\}", "\\{x \\mid x > 2\\}"], ["\\{x : x\\ge 2\\}", "\\{x : y>2\\}", "x\\ne 2"]),
    "(-\\infty,2)\\cup(3,\\infty)": (
        [
            "(-\\infty,2) U (3,\\infty)", "\\mathbb{R}\\setminus[2,3]",
            "x\\in(-\\infty,2)\\text{ or }x\\in(3,\\infty)", "\\{x : x<2 \\text{ or } x>3\\}",
        ],
        ["\\mathbb{R}\\setminus(2,3)", "x\\in(-\\infty,2)\\text{ and }x\\in(3,\\infty)", "x<2 and x>3"],
    ),
    "(-\\infty,3)\\cup(3,\\infty)": (["x \\ne 3", "x\u22603"], ["x\\ne 4", "x=3"]),
    "[0,1)\\cup(1,2]": (["[0,2]\\setminus\\{1\\}"], ["[0,2]", "[0,2]\\setminus[1,1.5]"]),
    "42": ([], ["x \\ne 42", "\\{x : x > 42\\}", "\\{x : x \\ne 42\\}"]),
    "(0,\\pi)\\cup(\\pi,4)": (
        ["(\\pi,4)\\cup(0,\\pi)"],
        ["(0,\\pi)\\cup(\\pi,4)\\cup(5,6)", "(0,\\pi)", "(0,\\pi)\\cup(\\pi,4)(5,6)"],
    ),
    "(1,2,3)": (["[1,2,3]"], ["[1,2,3)", "(1,2,3]"]),
    "(3,3)": (["(3, 3)"], ["(5,5)\\cup(6,6)", "(4,4)"]),
    # Matrices.
    "\\begin{pmatrix}-1/3\\\\2/3\\end{pmatrix}": (
        [
            "\\frac13\\begin{pmatrix}-1\\\\2\\end{pmatrix}", "-\\begin{bmatrix}\\frac13\\\\-\\frac23\\end{bmatrix}",
            "\\begin{pmatrix}-1/3\\\\[4pt]2/3\\end{pmatrix}", "\\frac{\\begin{pmatrix}-1\\\\2\\end{pmatrix}}{3}",
        ],
        [
            "3\\begin{pmatrix}-1\\\\2\\end{pmatrix}", "\\frac13\\begin{pmatrix}2\\\\-1\\end{pmatrix}",
            "\\begin{pmatrix}-1/3\\\\2/3\\end{pmatrix}\\begin{pmatrix}1\\\\1\\end{pmatrix}",
        ],
    ),
    "-2": (
        ["\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}", "2\\begin{vmatrix}1&2\\\\1&1\\end{vmatrix}"],
        ["\\begin{vmatrix}1&2\\\\3&5\\end{vmatrix}", "\\begin{vmatrix}-2&0\\end{vmatrix}", "\\begin{pmatrix}-2\\end{pmatrix}"],
    ),
    "5 \\times 10^{-7} \\text{ T}": (["5e-7", "5e-7 T"], ["5e-7 V"]),
    "3:45": (["3{:}45"], ["3:54"]),
    "-1": ([], ["-\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}"]),
    # Words.
    "\\text{Evelyn}": (["\\text{Evelyn.}"], ["\\text{Evelyn..}", "\\text{Evelyn?}"]),
    "\\text{4:30 p.m.}": (["4:30 pm", "4:30 PM"], ["4:30 am", "4:30"]),
}  # fmt: skip


@pytest.mark.parametrize("gold", FORMS)
def test_what_is_equal_and_what_is_not(gold):
    equal, different = FORMS[gold]
    for answer in equal:
        assert verify(gold, answer, seconds=20).correct, answer
    for answer in different:
        verdict = verify(gold, answer, seconds=20)
        assert not verdict.correct, answer
        assert verdict.stage not in ("error", "timeout"), answer


def test_words_of_letters_are_no_separators():
    for answer in ("xor", "5for", "5or6", "xorand"):
        assert not verify("x", answer, seconds=20).correct
        assert not verify("5", answer, seconds=20).correct
