"""The data sets: official files in every form, the hub, reference answers, and what is said of bad rows."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from grpokit.api import PreflightError, last_boxed, last_hash, parse_number
from grpokit.testing import check_dataset
from grpokit_math.datasets import config, official
from grpokit_math.extract import as_text

DATA = Path(__file__).parents[4] / "shared" / "data"
GSM = {"question": "1 + 1?", "answer": "It is <<1+1=2>>2.\n#### 2"}
MATH = {
    "problem": "Half?",
    "level": "Level 1",
    "type": "Algebra",
    "solution": "So $\\boxed{1}$, no: $\\boxed{\\frac{1}{2}}$.",
}
MATH500 = {
    "problem": "Half?",
    "solution": "$\\boxed{\\frac{1}{2}}$.",
    "answer": "\\frac{1}{2}",
    "subject": "Algebra",
    "level": 1,
    "unique_id": "test/algebra/1.json",
}


def jsonl(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def gsm8k(path: Path | str, **more):
    return official.gsm8k(config.Gsm8kConfig(path=str(path), **more))


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data with the official files is not there")
@pytest.mark.parametrize(("split", "size"), [("train", 7473), ("test", 1319)])
def test_every_row_of_gsm8k(split, size):
    found = gsm8k(DATA / "gsm8k", split=split)
    raw = [json.loads(line) for line in (DATA / f"gsm8k/{split}.jsonl").read_text().splitlines()]
    assert found.size == len(raw) == size
    for number, row in enumerate(raw):
        made = found[number]
        assert list(made) == list(found.columns)
        assert (made["question"], made["solution"]) == (row["question"], row["answer"])
        assert made["id"] == f"{split}/{number}"
        assert made["answer"].lstrip("-").replace(".", "", 1).isdigit()
        assert parse_number(made["answer"]) == parse_number(last_hash(row["answer"]))
    assert found.skipped == ()
    assert gsm8k(DATA / f"gsm8k/{split}.jsonl").fingerprint == found.fingerprint


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data with the official files is not there")
def test_every_row_of_math500():
    found = official.math500(config.Math500Config(path=str(DATA / "math500/test.jsonl")))
    raw = [json.loads(line) for line in (DATA / "math500/test.jsonl").read_text().splitlines()]
    assert found.size == len(raw) == 500
    for number, row in enumerate(raw):
        made = found[number]
        assert made["answer"] == row["answer"] == last_boxed(row["solution"])
        assert made["question"] == made["problem"] == row["problem"]
        assert (made["id"], made["level"]) == (row["unique_id"], row["level"])
    as_math = official.math(config.MathConfig(path=str(DATA / "math500/test.jsonl"), split="test"))
    assert [as_math[n]["answer"] for n in range(500)] == [row["answer"] for row in raw]


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data with the official files is not there")
def test_what_every_data_set_promises():
    files = str(DATA / "gsm8k")
    check_dataset("math/gsm8k", {"path": files}, {"path": files, "split": "test"})
    check_dataset("math/math500", {"path": str(DATA / "math500")})


def test_answers_are_final_and_nested_braces_stay(tmp_path):
    found = official.math(config.MathConfig(path=jsonl(tmp_path / "train.jsonl", MATH)))
    assert found[0] == {
        "question": "Half?",
        "answer": "\\frac{1}{2}",
        "solution": MATH["solution"],
        "id": "train/0",
        "problem": "Half?",
        "level": "Level 1",
        "type": "Algebra",
    }


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("1,080", "1080"),
        ("$1,234.50", "1234.5"),
        ("-7", "-7"),
        ("007", "7"),
        ("0.50", "0.5"),
        ("-.25", "-0.25"),
        ("1/3", "1/3"),
        ("3/8", "0.375"),
        ("12.", "12"),
        ("0", "0"),
        ("100", "100"),
    ],
)
def test_a_number_is_written_in_one_way(tmp_path, written, answer):
    row = GSM | {"answer": f"So.\n#### {written}"}
    assert gsm8k(jsonl(tmp_path / "a.jsonl", row))[0]["answer"] == answer
    assert parse_number(answer) == parse_number(written)


def test_a_number_is_written_exactly():
    for value in (Fraction(n, d) for n in range(-40, 41) for d in range(1, 41)):
        assert Fraction(as_text(value)) == value


def test_every_form_of_file_is_the_same_data(tmp_path):
    rows = [GSM, GSM | {"question": "1 + 2?", "answer": "#### 3"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "train.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n\n")
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "train.json").write_text(json.dumps(rows))
    (tmp_path / "lines.json").write_text(text)  # what some tools call .json
    (tmp_path / "0a1b2c").write_text(text)  # as in the hub's cache
    names = ["train.jsonl", "train.jsonl.gz", "train.json", "lines.json", "0a1b2c", ""]
    try:
        from pyarrow import Table, parquet
    except ImportError:
        pass
    else:
        parquet.write_table(Table.from_pylist(rows), tmp_path / "train.parquet")
        folder = tmp_path / "as-the-hub"
        folder.mkdir()
        for part, row in enumerate(rows):
            name = f"train-0000{part}-of-00002.parquet"
            parquet.write_table(Table.from_pylist([row]), folder / name)
        names += ["train.parquet", "as-the-hub"]
    found = [gsm8k(tmp_path / name) for name in names]
    assert {data.fingerprint for data in found} == {found[0].fingerprint}
    ids = {data[1]["id"] for data in found}
    assert ids == {"train/1", "lines/1", "0a1b2c/1"}
    assert found[0].fingerprint != gsm8k(jsonl(tmp_path / "other.jsonl", GSM)).fingerprint


def test_the_archive_of_math_one_problem_a_file(tmp_path):
    for name in ("algebra/10", "algebra/2", "geometry/1"):
        file = tmp_path / f"test/{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(MATH | {"problem": name}))
    found = official.math(config.MathConfig(path=str(tmp_path), split="test"))
    assert [found[n]["question"] for n in range(3)] == ["algebra/2", "algebra/10", "geometry/1"]
    with pytest.raises(PreflightError, match=r"no train\.jsonl"):
        official.math(config.MathConfig(path=str(tmp_path)))


BAD_GSM = [
    (GSM | {"answer": "no mark"}, "its answer has no `#### number` at the end"),
    (GSM | {"answer": "#### many"}, "what follows #### is no number: 'many'"),
    (GSM | {"answer": "####  "}, "its answer has no `#### number` at the end"),
    (GSM | {"question": " "}, "it has no text in 'question' or 'problem'"),
    ({"prompt": "1?"}, "it has no text in 'question' or 'problem'; it has prompt"),
    (GSM | {"answer": 2}, "it has no text in 'answer'"),
    ([1], "it is a list where an object is expected"),
]


@pytest.mark.parametrize(("row", "said"), BAD_GSM)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, row, said):
    path = jsonl(tmp_path / "train.jsonl", GSM, row, GSM)
    with pytest.raises(PreflightError) as caught:
        gsm8k(path)
    assert caught.value.place == f"{path}:2"
    assert caught.value.fact.startswith(said)
    kept = gsm8k(path, on_bad_row="skip")
    assert kept.size == 2
    assert kept.skipped[0].startswith(f"{path}:2: {said}")
    assert kept[1]["id"] == "train/2"


def test_many_bad_rows_are_told_together(tmp_path):
    path = jsonl(tmp_path / "train.jsonl", *[row for row, _ in BAD_GSM], *[{}] * 6)
    for more in ({}, {"on_bad_row": "skip"}):  # nothing is left when all are skipped
        with pytest.raises(PreflightError) as caught:
            gsm8k(path, **more)
        assert f"{path}:7: it is a list" in caught.value.fact
        assert caught.value.fact.startswith("13 rows cannot be used")
        assert caught.value.fact.endswith("; and 3 more")
    (tmp_path / "cut.jsonl").write_bytes(b'{"question": "\xff"}\n{"question": \n' + b"[" * 100_000)
    with pytest.raises(PreflightError) as caught:
        gsm8k(tmp_path / "cut.jsonl")
    assert "not UTF-8" in caught.value.fact
    assert "no whole JSON value" in caught.value.fact
    assert "nested too deeply" in caught.value.fact


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"solution": "No box."}, "its solution has no complete \\boxed{}"),
        ({"solution": "\\boxed{\\frac{1}{2}"}, "its solution has no complete \\boxed{}"),
        ({"answer": "2"}, "its answer '2' is not what the solution boxes: '\\\\frac{1}{2}'"),
    ],
)
def test_the_boxed_answer_is_checked(tmp_path, change, said):
    path = jsonl(tmp_path / "test.jsonl", MATH500 | change)
    with pytest.raises(PreflightError) as caught:
        official.math500(config.Math500Config(path=path))
    assert caught.value.fact == said


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(PreflightError, match="no such file or folder"):
        gsm8k(tmp_path / "nowhere.jsonl")
    (tmp_path / "train.jsonl").write_bytes(b"\x1f\x8bbroken")
    with pytest.raises(PreflightError, match="it cannot be read"):
        gsm8k(tmp_path / "train.jsonl")
    for name in ("train.csv", "MATH.tar", "MATH.zip"):
        (tmp_path / name).write_text("question,answer\n1 + 1?,#### 2\n")
        with pytest.raises(PreflightError, match=r"file; \.jsonl, \.json") as caught:
            gsm8k(tmp_path / name)
        assert caught.value.place == str(tmp_path / name)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(PreflightError, match="it has no rows"):
        gsm8k(tmp_path / "empty.jsonl")
    pytest.importorskip("pyarrow")
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(PreflightError, match="it is no parquet file"):
        gsm8k(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("written", "answer"), [("033", "33"), ("204", "204"), ("336^\\circ", "336"), (7, "7")]
)
def test_aime_answers_are_whole(tmp_path, written, answer):
    path = jsonl(tmp_path / "aime.jsonl", {"id": 60, "problem": "p?", "answer": written})
    found = official.aime(config.AimeConfig(path=path))[0]
    assert (found["answer"], found["id"], found["solution"]) == (answer, "60", None)


@pytest.mark.parametrize("written", ["1000", "-1", "1/2", "many", None])
def test_aime_answers_have_a_range(tmp_path, written):
    path = jsonl(tmp_path / "aime.jsonl", {"problem": "p?", "answer": written})
    with pytest.raises(PreflightError, match="its answer is no"):
        official.aime(config.AimeConfig(path=path))


def test_amc_answers_are_written_as_numbers(tmp_path):
    rows = [{"problem": "p?", "answer": 142.0}, {"problem": "q?", "answer": 0.5, "url": "u"}]
    found = official.amc(config.AmcConfig(path=jsonl(tmp_path / "amc.jsonl", *rows)))
    assert [(found[n]["answer"], found[n]["url"]) for n in (0, 1)] == [("142", None), ("0.5", "u")]


def test_a_contest_of_another_data_set_has_the_split_of_its_name(monkeypatch):
    asked = []

    def rows(repository, _name, split, _revision):
        asked.append((repository, split))
        yield f"{repository}: row 0", {"id": 0, "question": "p?", "answer": 27.0, "url": "u"}

    monkeypatch.setattr(official, "hub_rows", rows)
    for settings in ({}, {"hub": "mirror/amc"}, {"hub": "math-ai/amc23", "split": "test"}):
        found = official.amc(config.AmcConfig(**settings))[0]
        assert (found["question"], found["answer"]) == ("p?", "27")
    assert asked == [
        ("AI-MO/aimo-validation-amc", "train"),
        ("mirror/amc", "train"),
        ("math-ai/amc23", "test"),
    ]
    with pytest.raises(ValueError, match="there is one part, test, and split is train"):
        config.AmcConfig(split="train")


def run(code: str, environ: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_rows_of_the_hub_are_those_of_the_file(tmp_path):
    """The hub's reader takes a folder too. A process of its own: its libraries read folders at import."""
    pytest.importorskip("datasets")
    pytest.importorskip("grpokit_hf")
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    jsonl(folder / "test.jsonl", GSM, GSM | {"question": "1 + 2?", "answer": "#### 3,000"})
    code = f"""
import json
from grpokit_math.datasets import config, official
from grpokit_math.datasets.read import hub_rows
hub = official.OfficialDataset(config.Gsm8kConfig(split="test"),
    hub_rows({str(folder)!r}, None, "test", None), gold=official.hash_gold, name="test")
file = official.gsm8k(config.Gsm8kConfig(split="test", path={str(folder)!r}))
assert [dict(hub[n]) for n in range(2)] == [dict(file[n]) for n in range(2)]
assert hub.fingerprint == file.fingerprint
print(hub[1]["answer"])
"""
    environ = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    assert run(code, environ).strip() == "3000"


def test_the_hub_out_of_reach_is_a_sentence(tmp_path, monkeypatch):
    pytest.importorskip("grpokit_hf")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PreflightError) as caught:
        official.gsm8k(config.Gsm8kConfig())
    assert "openai/gsm8k" in str(caught.value)
    assert caught.value.remedy.endswith("or name a local file in dataset.with.path")


def test_without_the_reader_it_says_what_to_install():
    code = """
import sys
sys.modules["grpokit_hf"] = None
from grpokit.api import PreflightError
from grpokit_math.datasets import config, official
for name in ("Gsm8k", "Math", "Math500", "Aime", "Amc"):
    try:
        getattr(official, name.lower())(getattr(config, name + "Config")())
    except PreflightError as error:
        print(error)
"""
    lines = run(code, {}).splitlines()
    assert len(lines) == 5
    assert all("pip install 'grpokit-math[hub]'" in line for line in lines)
