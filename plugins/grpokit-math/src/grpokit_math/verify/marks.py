r"""What means the same: look-alike characters, commands with several names, commands that say nothing."""

from __future__ import annotations

__all__ = [
    "ALIASES",
    "FONTS",
    "JOIN",
    "MONEY",
    "NAMED",
    "OPERATORS",
    "SAME",
    "SAME_ASCII",
    "SCRIPTS",
    "SILENT",
    "SILENT_MARKS",
]

JOIN = "\x1f"  # a comma that can only be one of a number: {,} and ,\!
# Around raised and lowered characters, so that those of two digits can be put together.
RAISED, RAISED_END, LOWERED, LOWERED_END = "\x01", "\x02", "\x03", "\x04"
SCRIPTS = (
    (RAISED_END + RAISED, ""),
    (LOWERED_END + LOWERED, ""),
    (RAISED, "^{"),
    (LOWERED, "_{"),
    (RAISED_END, "}"),
    (LOWERED_END, "}"),
)
SUPERSCRIPTS = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207a\u207f"
SUBSCRIPTS = "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208b\u208a\u2099"
PLAIN = "0123456789-+n"
SPACES = dict.fromkeys("\t\n\r\x1f\x00", " ")
UNKNOWN = dict.fromkeys("\x01\x02\x03\x04", "\ufffd")

# Look-alikes that people and models write. No NFKC: it would turn 4 squared into 42.
SAME = str.maketrans(
    {
        **SPACES,
        **UNKNOWN,
        **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2002\u2003\u2005\u2007\u200a\u3000", " "),
        **dict.fromkeys("\u00a0\u2009\u202f", "\\,"),
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        "\uff0e": ".", "\uff0c": ",", "\u3001": ",", "\uff05": "%", "\uff0b": "+", "\uff1d": "=",
        "\uff08": "(", "\uff09": ")", "\uff1b": ";", "\uff1a": ":", "\uff0f": "/", "\u3002": ".",
        "\u00b0": "^\\circ ", "\u03c0": "\\pi ", "\u221e": "\\infty ", "\u2026": "\\dots ",
        "\u221a": "\\sqrt ", "\u221b": "\\sqrt[3]", "\u221c": "\\sqrt[4]",
        "\u00d7": "\\times ", "\u00b7": "\\cdot ", "\u22c5": "\\cdot ", "\u00f7": "\\div ",
        "\u2264": "\\leq ", "\u2a7d": "\\leq ", "\u2265": "\\geq ", "\u2a7e": "\\geq ",
        "\u2260": "\\neq ", "\u2208": "\\in ", "\u222a": "\\cup ", "\u2229": "\\cap ",
        "\u2205": "\\emptyset ", "\u00b1": "\\pm ", "\u2213": "\\mp ", "\u211d": "\\mathbb{R}",
        "\u00bd": "\\frac12 ", "\u00bc": "\\frac14 ", "\u00be": "\\frac34 ",
        "\u2153": "\\frac13 ", "\u2154": "\\frac23 ", "\u2155": "\\frac15 ", "\u2156": "\\frac25 ",
        "\u2157": "\\frac35 ", "\u2158": "\\frac45 ", "\u2159": "\\frac16 ", "\u215a": "\\frac56 ",
        "\u2150": "\\frac17 ", "\u215b": "\\frac18 ", "\u215c": "\\frac38 ", "\u215d": "\\frac58 ",
        "\u215e": "\\frac78 ", "\u2151": "\\frac19 ",
        "\u03b8": "\\theta ", "\u03b1": "\\alpha ", "\u03b2": "\\beta ", "\u03bb": "\\lambda ",
        "\u20ac": "\\euro ", "\u00a3": "\\pounds ", "\u00a5": "\\yen ", "\u20b9": "\\rupee ",
        "\u00a2": "\\text{ cents}",
        **{mark: RAISED + char + RAISED_END for mark, char in zip(SUPERSCRIPTS, PLAIN, strict=True)},
        **{mark: LOWERED + char + LOWERED_END for mark, char in zip(SUBSCRIPTS, PLAIN, strict=True)},
    }
)  # fmt: skip
SAME_ASCII = str.maketrans(SPACES | UNKNOWN)

# Commands that say nothing about the value.
SILENT = frozenset(
    [
        "left",
        "right",
        "big",
        "Big",
        "bigg",
        "Bigg",
        "bigl",
        "bigr",
        "Bigl",
        "Bigr",
        "biggl",
        "biggr",
        "displaystyle",
        "textstyle",
        "quad",
        "qquad",
        "limits",
        "nolimits",
        "hspace",
        "hfill",
        "bf",
        "rm",
        "it",
        "small",
        "normalsize",
        "large",
        "Large",
        "LARGE",
        "huge",
        "Huge",
    ]
)
SILENT_MARKS = frozenset(",;:! ()[]>")
FONTS = frozenset(
    [
        "text",
        "textbf",
        "textit",
        "textrm",
        "texttt",
        "textsf",
        "textnormal",
        "mbox",
        "hbox",
        "mathrm",
        "mathbf",
        "mathit",
        "mathsf",
        "mathtt",
        "operatorname",
        "boxed",
        "fbox",
        "bold",
        "emph",
        "boldsymbol",
        "bm",
        "underline",
    ]
)
ALIASES = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom",
    "le": "leq", "leqslant": "leq", "ge": "geq", "geqslant": "geq", "ne": "neq", "lt": "<", "gt": ">",
    "varnothing": "emptyset", "times": "*", "cdot": "*", "ast": "*", "div": "/", "colon": ":",
    "lbrace": "\\{", "rbrace": "\\}", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|",
    "lparen": "(", "rparen": ")", "lbrack": "[", "rbrack": "]", "degree": "circ", "backslash": "setminus",
    "land": "and", "lor": "or", "lnot": "neg", "prime": "'", "tg": "tan", "ctg": "cot",
    "langle": "(", "rangle": ")", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "inf": "infty", "infinity": "infty", "oo": "infty", "percent": "%", "varphi": "phi",
    "varepsilon": "epsilon", "slash": "/", "overline": "overline", "vartheta": "theta",
    "dots": "...", "ldots": "...", "cdots": "...", "thinspace": ",", "union": "cup",
}  # fmt: skip
OPERATORS = frozenset("*/<>:|()[]'%") | {"\\{", "\\}"}
NAMED = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "ln",
        "log",
        "lg",
        "exp",
        "sqrt",
        "pi",
        "infty",
        "infinity",
        "oo",
        "theta",
        "alpha",
        "beta",
    ]
)
MONEY = {"$": "dollar", "euro": "euro", "pounds": "pound", "yen": "yen", "rupee": "rupee"}
