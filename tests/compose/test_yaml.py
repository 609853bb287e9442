"""Positions, aliases and limits of the YAML reader."""

from grpokit.compose.diagnostics import Report
from grpokit.compose.nodes import at, dotted, leaves, mark_of, to_data
from grpokit.compose.yaml import LIMITS, parse_yaml

TEXT = """\
# a comment
model:
  id: some/model   # trailing
  lora: {rank: 32, targets: [q, "v"]}
rewards:
  - use: number
    weight: 0.5
  - {use: format}
on: yes
12: "12"
text: |
  two
  lines
é: ü
"""


def read(text, **options):
    report = Report()
    return parse_yaml(text, "r.yaml", report, **options), report


def test_values_and_positions_with_both_parsers():
    for fast in (True, False):
        tree, report = read(TEXT, fast=fast)
        assert not report.items
        assert to_data(tree) == {
            "model": {"id": "some/model", "lora": {"rank": 32, "targets": ["q", "v"]}},
            "rewards": [{"use": "number", "weight": 0.5}, {"use": "format"}],
            "on": "yes",
            "12": "12",
            "text": "two\nlines\n",
            "é": "ü",
        }
        places = {dotted(path): (node.mark.line, node.mark.col) for path, node in leaves(tree)}
        assert places == {
            "model.id": (3, 7),
            "model.lora.rank": (4, 16),
            "model.lora.targets.0": (4, 30),
            "model.lora.targets.1": (4, 33),
            "rewards.0.use": (6, 10),
            "rewards.0.weight": (7, 13),
            "rewards.1.use": (8, 11),
            "on": (9, 5),
            "12": (10, 5),
            "text": (11, 7),
            "é": (14, 4),
        }
        assert str(mark_of(tree, ("model", "lora", "rank"), key=True)) == "r.yaml:4:10"
        assert str(mark_of(tree, ("model", "lora"))) == "r.yaml:4:3"
        assert str(mark_of(tree, ("model", "nothing", "here"))) == "r.yaml:2:1"


def test_quotes_and_text_as_written_are_kept():
    tree, _ = read("a: 1e-6\nb: '1e-6'\n")
    assert (at(tree, ("a",)).text, at(tree, ("a",)).quoted) == ("1e-6", False)
    assert (at(tree, ("b",)).value, at(tree, ("b",)).quoted) == ("1e-6", True)


def test_a_small_alias_is_allowed():
    tree, report = read("a: &x {path: data.jsonl}\nb: *x\n")
    assert not report.items
    assert to_data(tree) == {"a": {"path": "data.jsonl"}, "b": {"path": "data.jsonl"}}


def test_an_inline_data_set_of_some_thousand_rows_is_allowed():
    rows = "".join(f"  - {{question: {n} + 1, answer: {n + 1}}}\n" for n in range(3000))
    tree, report = read("rows:\n" + rows)
    assert not report.items
    assert tree.count == 9_002 < LIMITS["nodes"]


def test_reading_goes_on_after_a_problem():
    tree, report = read("a: 1\na: 2\nb: !x 3\n<<: {c: 4}\nd: 012\n")
    assert [(d.code, d.line, d.col) for d in report.items] == [
        ("Y203", 2, 1),
        ("Y204", 3, 4),
        ("Y207", 4, 1),
        ("Y213", 5, 4),
    ]
    assert to_data(tree) == {"a": 1, "b": "3", "d": 12}
