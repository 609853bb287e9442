"""inline and jsonl."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from grpokit.api import Dataset, PreflightError
from grpokit.builtins.datasets.inline import InlineConfig, InlineDataset
from grpokit.builtins.datasets.jsonl import JsonlConfig, JsonlDataset

DATA = Path(__file__).parents[4] / "shared" / "data" / "gsm8k"


def test_inline_rows():
    dataset = InlineDataset(InlineConfig(rows=[{"q": "a", "n": 1}, {"q": "b", "n": 2}]))
    assert isinstance(dataset, Dataset)
    assert (dataset.size, dataset.columns) == (2, ("q", "n"))
    assert dataset[1] == {"q": "b", "n": 2}
    other = InlineDataset(InlineConfig(rows=[{"q": "a", "n": 1}, {"q": "b", "n": 3}]))
    assert dataset.fingerprint != other.fingerprint
    with pytest.raises(IndexError):
        dataset[2]


def test_inline_rows_have_the_same_columns():
    with pytest.raises(ValueError, match=r"row 1 has the columns \[p\], row 0 has \[q\]"):
        InlineConfig(rows=[{"q": 1}, {"p": 1}])
    with pytest.raises(ValueError):
        InlineConfig(rows=[])


def write(tmp_path: Path, data: bytes | str, name: str = "rows.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def load(path: Path, **settings):
    return JsonlDataset(JsonlConfig(path=str(path), **settings))


def test_jsonl_with_mark_blank_lines_windows_ends_and_no_last_newline(tmp_path):
    text = '\ufeff{"q": "\u00e4", "a": 1}\r\n\r\n{"q": "\\ud800", "a": 2}'
    dataset = load(write(tmp_path, text))
    assert isinstance(dataset, Dataset)
    assert (dataset.size, dataset.columns, dataset.skipped) == (2, ("q", "a"), ())
    assert [dataset[0]["q"], dataset[1]["q"]] == ["\u00e4", "\ud800"]


def test_jsonl_fingerprints_content_not_names(tmp_path):
    text = '{"q": 1}\n{"q": 2}\n'
    plain = load(write(tmp_path, text))
    packed = load(write(tmp_path, gzip.compress(text.encode()), "rows.jsonl.gz"))
    assert plain.fingerprint == packed.fingerprint
    assert packed[1] == {"q": 2}
    assert load(write(tmp_path, text + '{"q": 3}\n')).fingerprint != plain.fingerprint


def test_jsonl_fills_columns_that_a_row_lacks(tmp_path):
    dataset = load(write(tmp_path, '{"q": 1}\n{"q": 2, "hint": "x"}\n'))
    assert dataset.columns == ("q", "hint")
    assert dataset[0] == {"q": 1, "hint": None}


BAD = {
    '{"q": 1, "a"': "it is no whole JSON value: Expecting ':' delimiter (column 13)",
    "[1]": "it is a JSON list where an object is expected",
    "5": "it is a JSON number where an object is expected",
    '{"q": NaN}': "it holds NaN, which is no JSON",
    '{"q": [1]}': "the column 'q' is a list or an object, in line 1 it is a plain value",
    "[" * 100_000: "it is nested too deeply",
    '{"q": ' + "1" * 5000 + "}": "Exceeds the limit",
}


@pytest.mark.parametrize(("line", "reason"), BAD.items(), ids=lambda text: text[:20])
def test_a_bad_line_is_named_or_skipped(tmp_path, line, reason):
    path = write(tmp_path, f'{{"q": 1}}\n{line}\n{{"q": 3}}\n')
    with pytest.raises(PreflightError) as caught:
        load(path)
    assert caught.value.place == f"{path}:2"
    assert reason in caught.value.fact
    assert "on_bad_row: skip" in caught.value.remedy
    dataset = load(path, on_bad_row="skip")
    assert [dataset[0]["q"], dataset[1]["q"]] == [1, 3]
    (skipped,) = dataset.skipped
    assert skipped.startswith(f"{path}:2: ")


def test_all_bad_lines_are_named_at_once(tmp_path):
    path = write(tmp_path, b'x\n{"q": 1}\n\xff\xfe\n' + b"y\n" * 30)
    with pytest.raises(PreflightError) as caught:
        load(path)
    assert "32 lines cannot be used" in caught.value.fact
    assert f"{path}:1: " in caught.value.fact
    assert f"{path}:3: it is not UTF-8 (byte 1 of the line)" in caught.value.fact
    assert "and 22 more" in caught.value.fact


def test_files_that_cannot_be_used_are_named(tmp_path):
    packed = gzip.compress(b'{"q": 1}\n' * 100)
    cases = {
        tmp_path / "missing.jsonl": "there is no such file",
        tmp_path: "it cannot be read: Is a directory",
        write(tmp_path, "", "empty"): "it has no rows",
        write(tmp_path, "\n \n", "blank"): "it has no rows",
        write(tmp_path, packed[:-9], "cut.gz"): "it is a damaged gzip file",
        write(tmp_path, packed[:20] + b"\x00" * 20 + packed[40:], "bad.gz"): "damaged gzip file",
    }
    for path, fact in cases.items():
        with pytest.raises(PreflightError) as caught:
            load(path)
        assert caught.value.place == str(path)
        assert fact in caught.value.fact
        assert caught.value.remedy
    with pytest.raises(PreflightError, match="whole JSON value"):
        load(write(tmp_path, "x\n", "bad"), on_bad_row="skip")


def test_the_path_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    write(tmp_path, '{"q": 1}\n')
    monkeypatch.chdir(tmp_path)
    assert load(Path("rows.jsonl")).size == 1


@pytest.mark.skipif(not DATA.is_dir(), reason="the GSM8K files are not there")
def test_raw_gsm8k_rows_work_unchanged():
    dataset = load(DATA / "train.jsonl")
    assert (dataset.size, dataset.columns) == (7473, ("question", "answer"))
    assert dataset[0]["answer"].endswith("#### 72")
