"""Opening data sets: mapping, limit, fingerprint, and errors before anything heavy is loaded."""

import json

import pytest

from grpokit.compose.data import MappedDataset, open_dataset
from grpokit.errors import ComponentError, PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.spec.contracts import Dataset
from grpokit.spec.recipe import DatasetSection

ROWS = [{"problem": f"{n} + 1?", "solution": str(n + 1), "id": n} for n in range(5)]


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


def section(**more):
    return DatasetSection.model_validate({"use": "inline", "with": {"rows": ROWS}, **more})


def test_columns_are_mapped_and_rows_limited(catalog):
    mapped = section(columns={"question": "problem", "answer": "solution"}, limit=3)
    dataset = open_dataset(catalog, mapped)
    assert isinstance(dataset, Dataset)
    assert dataset.size == 3
    assert set(dataset.columns) == {"problem", "solution", "id", "question", "answer"}
    assert dataset[2]["question"] == "2 + 1?"
    assert dataset[2]["answer"] == dataset[2]["solution"] == "3"
    with pytest.raises(IndexError):
        dataset[3]
    with pytest.raises(IndexError):
        dataset[-1]


def test_a_mapping_may_swap_columns(catalog):
    dataset = open_dataset(catalog, section(columns={"problem": "solution", "solution": "problem"}))
    assert dataset[0] == {"problem": "1", "solution": "0 + 1?", "id": 0}


def test_a_limit_above_the_size_changes_nothing(catalog):
    assert open_dataset(catalog, section(limit=99)).size == 5


def test_an_endless_data_set_can_be_limited(catalog):
    endless = open_dataset(catalog, DatasetSection(use="arithmetic", **{"with": {"level": 4}}))
    assert endless.size is None
    limited = open_dataset(
        catalog, DatasetSection(use="arithmetic", limit=4, **{"with": {"level": 4}})
    )
    assert limited.size == 4
    assert limited[3] == endless[3]
    with pytest.raises(IndexError):
        limited[4]


def test_the_fingerprint_has_content_mapping_and_limit(catalog):
    prints = [
        open_dataset(catalog, chosen).fingerprint
        for chosen in (
            section(),
            section(columns={"question": "problem"}),
            section(columns={"answer": "problem"}),
            section(limit=3),
            section(limit=4),
            section(**{"with": {"rows": ROWS[:4]}}),
        )
    ]
    assert len(set(prints)) == len(prints)
    assert prints[0] == open_dataset(catalog, section()).fingerprint


def test_a_missing_mapped_column_lists_the_columns(catalog):
    with pytest.raises(PreflightError) as caught:
        open_dataset(catalog, section(columns={"question": "probelm"}))
    text = str(caught.value)
    assert "no column 'probelm' to map to 'question'" in text
    assert "problem, solution, id" in text
    assert "did you mean `problem`?" in text


class Ragged:
    """A data set of a plugin whose second row lacks a column."""

    size = 2
    columns = ("q", "answer")
    fingerprint = "ragged"

    def __getitem__(self, index):
        return [{"q": "a", "answer": "1"}, {"answer": "2"}][index]


def test_a_row_without_the_mapped_column_is_named():
    dataset = MappedDataset(Ragged(), columns={"question": "q"}, limit=None)
    assert dataset[0]["question"] == "a"
    with pytest.raises(PreflightError, match="row 1 has no column 'q'; it has answer"):
        dataset[1]


def test_a_file_that_is_not_there_is_named(catalog, tmp_path):
    missing = str(tmp_path / "missing.jsonl")
    chosen = DatasetSection.model_validate({"use": "jsonl", "with": {"path": missing}})
    with pytest.raises(PreflightError, match=r"missing\.jsonl"):
        open_dataset(catalog, chosen)


def test_an_unknown_data_set(catalog):
    with pytest.raises(ComponentError, match="arithmetics"):
        open_dataset(catalog, DatasetSection(use="arithmetics"))


def test_raw_gsm8k_rows_work_unchanged(catalog, tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps({"question": "How many?", "answer": "2+2=4\n#### 4"}) + "\n")
    row = open_dataset(
        catalog, DatasetSection.model_validate({"use": "jsonl", "with": {"path": str(file)}})
    )[0]
    assert row["question"] == "How many?"
    assert "4" in row["answer"]
