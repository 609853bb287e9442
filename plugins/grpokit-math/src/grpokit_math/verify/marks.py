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
    "SILENT",
    "SILENT_MARKS",
]

JOIN = "\x1f"  # a comma that can only be one of a number: {,} and ,\!

# Look-alikes that people and models write. No NFKC: it would turn 4 squared into 42.
SAME = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2005\u2007\u200a\u3000\t\n\r\x1f\x00", " "),
        **dict.fromkeys("\u2009\u202f", "\\,"),
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        "\uff0e": ".", "\uff0c": ",", "\u3001": ",", "\uff05": "%", "\uff0b": "+", "\uff1d": "=",
        "\uff08": "(", "\uff09": ")", "\uff1b": ";", "\uff1a": ":", "\uff0f": "/", "\u3002": ".",
        "\u00b0": "^\\circ ", "\u03c0": "\\pi ", "\u221a": "\\sqrt ", "\u221e": "\\infty ",
        "\u00d7": "\\times ", "\u00b7": "\\cdot ", "\u22c5": "\\cdot ", "\u00f7": "\\div ",
        "\u2264": "\\leq ", "\u2a7d": "\\leq ", "\u2265": "\\geq ", "\u2a7e": "\\geq ",
        "\u2260": "\\neq ", "\u2208": "\\in ", "\u222a": "\\cup ", "\u2229": "\\cap ",
        "\u2205": "\\emptyset ", "\u00b1": "\\pm ", "\u2213": "\\mp ", "\u211d": "\\mathbb{R}",
        "\u00bd": "\\frac12 ", "\u00bc": "\\frac14 ", "\u00be": "\\frac34 ",
        "\u2153": "\\frac13 ", "\u2154": "\\frac23 ",
        "\u03b8": "\\theta ", "\u03b1": "\\alpha ", "\u03b2": "\\beta ", "\u03bb": "\\lambda ",
        **{char: f"^{{{digit}}}" for digit, char in enumerate("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")},
        **{chr(0x2080 + digit): f"_{{{digit}}}" for digit in range(10)},
        "\u20ac": "\\euro ", "\u00a3": "\\pounds ", "\u00a5": "\\yen ", "\u20b9": "\\rupee ",
    }
)  # fmt: skip
SAME_ASCII = str.maketrans("\t\n\r\x1f\x00", "     ")

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
