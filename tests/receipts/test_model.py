"""A receipt as a file: strict, bounded, and every mistake named."""

import json

import pytest

from grpokit.errors import RecipeError
from grpokit.receipts.model import MAX_BYTES, dump, parse


def test_written_and_read_again(receipt):
    text = dump(receipt)
    assert parse(text.encode(), "x") == receipt
    assert text.isascii()
    assert len(text) < 20_000


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"receipt": 2}, "format 2; this grpokit reads format 1"),
        ({"receipt": "1"}, "receipt: Input should be 1"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"runs": []}, "runs: Tuple should have at least 1 item"),
        ({"note": "x" * 2000}, "note: String should have at most 1000 characters"),
        ({"plugins": {"a": 1}}, "plugins.a: Input should be a valid string"),
    ],
)
def test_what_is_no_receipt(receipt, change, told):
    data = json.loads(dump(receipt)) | change
    with pytest.raises(RecipeError, match=r"r\.receipt\.json") as caught:
        parse(json.dumps(data).encode(), "r.receipt.json")
    assert told in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"\xff\xfe{}", b"[" * 100_000, b'{"a":' * 50_000, b"NaN"],
)
def test_what_is_no_json_at_all(raw):
    with pytest.raises(RecipeError, match="no receipt"):
        parse(raw, "r")


def test_numbers_that_are_none(receipt):
    text = dump(receipt)
    value = f'"value": {receipt.runs[0].trained.value}'
    assert value in text
    for bad in ("NaN", "Infinity", "1.5", "-0.1", '"0.5"', "null"):
        with pytest.raises(RecipeError, match=r"runs\.0\.trained\.value"):
            parse(text.replace(value, f'"value": {bad}').encode(), "r")


def test_too_large():
    with pytest.raises(RecipeError, match=f"larger than {MAX_BYTES}"):
        parse(b" " * (MAX_BYTES + 1), "r")
