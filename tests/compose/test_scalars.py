"""YAML 1.2 core scalars, and that what we write reads alike in YAML 1.1 and 1.2."""

import math

import pytest
import yaml

from grpokit.compose.diagnostics import Report
from grpokit.compose.nodes import to_data
from grpokit.compose.scalars import has_leading_zero, resolve
from grpokit.compose.write import annotated, scalar_text, to_yaml
from grpokit.compose.yaml import parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6), ("5.0e-6", 5e-6), ("1E3", 1000.0), (".5", 0.5), ("5.", 5.0), ("-0.0", -0.0),
        ("12", 12), ("-7", -7), ("+3", 3), ("012", 12), ("0o17", 15), ("0x1F", 31), ("0", 0),
        ("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
        (".inf", math.inf), ("-.INF", -math.inf),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("None", "None"),
        ("1_000", "1_000"), ("1:30", "1:30"), ("2026-01-01", "2026-01-01"), ("0b101", "0b101"),
        ("1e", "1e"), ("e5", "e5"), ("-", "-"), ("0o8", "0o8"), ("1.2.3", "1.2.3"), ("nan", "nan"),
        ("-0x1", "-0x1"), ("tRue", "tRue"),
    ],
)  # fmt: skip
def test_core_schema(text, value):
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number():
    assert math.isnan(resolve(".nan"))


def test_long_numbers_are_refused_and_long_text_is_not():
    with pytest.raises(ValueError, match="61 characters"):
        resolve("1" * 61)
    assert resolve("x" * 100_000) == "x" * 100_000


def test_leading_zeros():
    assert [text for text in ("0", "00", "012", "-01", "10", "0.5", "0o1") if has_leading_zero(text)] == [
        "00", "012", "-01",
    ]  # fmt: skip


HARD = [
    "1e-6", "1e6", "0o17", "0x1F", "012", "1_000", "1:30", "yes", "No", "on", "n", "null", "~", "",
    "true", ".inf", "2026-01-01", "=", "<<", "- x", "a: b", "a #b", "#x", "@x", "{a}", "[a]", "*a",
    "&a", "!a", "%a", "|", ">", "'", '"', "\\boxed{}", "a\nb", "a\tb", " a", "a ", "\x1b[31m", "\x85",
    "\u2028", "\ufeff", "naïve ✓", "\U0001f600", "\x7f", "-", "?", "a:", "Qwen/Qwen3-0.6B", "two words",
]  # fmt: skip


@pytest.mark.parametrize("text", HARD)
def test_text_stays_text_in_every_version_of_yaml(text):
    data = {"a": text, "b": [text], text or "x": 1}
    written = to_yaml(data)
    report = Report()
    ours = parse_yaml(written, "x", report)
    assert not report.items
    assert to_data(ours) == data
    assert yaml.safe_load(written) == data


@pytest.mark.parametrize("value", [None, True, False, 0, -3, 1e-6, 2.5e-07, 1e22, 0.1, 5.0, 2**63])
def test_other_values_stay_what_they_are(value):
    written = to_yaml({"a": value})
    assert to_data(parse_yaml(written, "x", Report())) == {"a": value}
    assert yaml.safe_load(written) == {"a": value}


def test_nested_data_and_its_origins():
    data = {"a": {"b": [1, {"c": 2, "d": []}], "e": {}}, "f": "x"}
    assert to_yaml(data) == "a:\n  b:\n    - 1\n    - c: 2\n      d: []\n  e: {}\nf: x\n"
    origins = {"a.b.1.c": "r.yaml:3:4", "f": "default"}
    text = annotated(data, origins)
    assert "    - c: 2   # r.yaml:3:4\n" in text
    assert "f: x         # default\n" in text
    assert yaml.safe_load(text) == data
    assert scalar_text(math.inf) == ".inf"
