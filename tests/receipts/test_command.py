"""``grpokit recipes`` with receipts, as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from grpokit.cli.main import main
from grpokit.compose.library import Library
from grpokit.receipts.marks import pack
from grpokit.receipts.model import Receipt, dump
from grpokit.receipts.shelf import receipt_of
from grpokit.registry.catalog import Catalog

CARRIED = [f.name for f in Library(Catalog.load(), Path.cwd()).named.values() if receipt_of(f)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def carried(recipe: Path, receipt: Receipt) -> Path:
    """The receipt beside ``sums.yaml``."""
    path = recipe.with_name("sums.receipt.json")
    path.write_text(dump(receipt), "utf-8")
    return path


def test_the_quickstart_has_one() -> None:
    assert "quickstart" in CARRIED
    assert "example-reward/smoke" in CARRIED


@pytest.mark.parametrize("name", CARRIED)
def test_every_receipt_that_we_ship_holds(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["recipes", "verify", name])
    out, err = capsys.readouterr()
    assert code == 0, (
        f"{out}{err}\nThe receipt of {name} is no longer true. Measure again, and put the file that the "
        f"last line writes beside the recipe:\n"
        f"  grpokit train {name}\n  grpokit eval last --base\n  grpokit recipes receipt last\n"
        "If only the source of a reward was edited, the last command is enough, with the old run: it scores "
        "all that the run saved again, and accepts it if every score is the same."
    )
    assert "the receipt holds" in out
    assert max(map(len, out.splitlines())) <= 80
    told = json.dumps(receipt_named(name).model_dump(mode="json"))
    assert str(Path.home()) + "/" not in told


def receipt_named(name: str) -> Receipt:
    found = receipt_of(Library(Catalog.load(), Path.cwd()).named[name])
    assert found is not None
    return found


def test_the_list_says_what_was_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("quickstart "))
    assert "80.7% (+63.7)" in line
    assert main(["recipes", "list", "--json"]) == 0
    rows = {row["name"]: row["receipt"] for row in json.loads(capsys.readouterr().out)["recipes"]}
    assert rows["quickstart"] == "80.7% (+63.7)"
    assert rows["gsm8k-qwen"] is None


def test_show_prints_it_and_still_prints_a_recipe(
    carried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipes", "show", "sums.yaml"]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["summary"] == "Nine sums."
    (accuracy,) = (line for line in shown.splitlines() if line.startswith("#   accuracy"))
    assert "11.1% -> 88.9%, +77.8 points (95% interval" in accuracy
    assert "#   rewards    number x 0.9 (" in shown
    for resolved in ([], ["--resolved"]):
        assert main(["recipes", "show", "sums.yaml", *resolved]) == 0
        Path("copy.yaml").write_text(capsys.readouterr().out)
        assert main(["recipes", "check", "copy.yaml"]) == 0
        assert "copy.yaml: ok" in capsys.readouterr().out
    assert main(["recipes", "show", "sums.yaml", "--set", "train.steps=3"]) == 0
    assert "receipt" not in capsys.readouterr().out  # it is not of this one
    assert main(["recipes", "show", "sums.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["receipt"]["metric"]["n"] == 9


def test_a_stranger_s_words_steer_nothing(
    carried: Path, receipt: Receipt, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escapes, line ends that would leave the comment, bidirectional text; anywhere in the file."""
    hostile = "x\x1b[2J\ntrain: {steps: 9}\r\u202e[bold]\x07"
    data = receipt.model_dump(mode="json")
    data["note"] = hostile
    data["model"] |= {"id": hostile, "weights": hostile}
    data["rewards"][0] |= {"name": hostile, "id": hostile, "distribution": hostile}
    data["recipe"]["values"] |= {hostile: hostile}
    data["runs"][0] |= {"date": hostile, "hardware": {hostile: hostile, "cpu": hostile}}
    data["runs"][0]["packages"] |= {hostile: hostile, "torch": hostile}
    data["runs"][0]["reward_check"] |= {"findings": [hostile]}
    data["metric"] |= {"reward": hostile, "sampling": {"temperature": hostile}}
    carried.write_text(json.dumps(data))
    for command in (["show"], ["check"], ["verify"], ["verify", "--json"]):
        main(["recipes", *command, "sums.yaml"])
        out, err = capsys.readouterr()
        for sign in ("\x1b", "\r", "\x07", "\u202e"):
            assert sign not in out + err
        if command == ["show"]:
            assert yaml.safe_load(out)["train"] == {"steps": 2, "seed": 1}
        assert "\ntrain: {steps: 9}" not in out + err
    data["runs"][0][hostile] = 1
    carried.write_text(json.dumps(data))
    assert main(["recipes", "verify", "sums.yaml"]) == 2
    assert "\ntrain" not in capsys.readouterr().err


def test_verify_tells_what_differs(
    carried: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipes", "verify", "sums.yaml"]) == 0
    assert "sums.yaml: the receipt holds\n  10 same, 2 recomputed, " in capsys.readouterr().out
    assert main(["recipes", "verify", "sums.receipt.json"]) == 0  # either file
    capsys.readouterr()
    recipe.write_text(recipe.read_text().replace("weight: 0.1", "weight: 0.2"))
    assert main(["recipes", "verify", "sums.yaml"]) == 1
    out = capsys.readouterr().out
    assert "differs      recipe           rewards.1.weight was 0.1, is 0.2" in out
    assert "the receipt does not hold" in out
    assert max(map(len, out.splitlines())) <= 80
    assert main(["recipes", "verify", "sums.yaml", "--json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)["recipes"]
    assert told["holds"] is False
    assert [fact["name"] for fact in told["facts"] if fact["state"] == "differs"] == [
        "recipe",
        "reward distinct",
    ]


def test_nothing_is_trained_that_would_not_compare(
    carried: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(recipe.read_text().replace("limit: 9", "limit: 8"))
    assert main(["recipes", "verify", "sums.yaml", "--train", "--eval", "--out", "runs"]) == 1
    out, err = capsys.readouterr()
    assert out.count("not done again: answers do not compare (see") == 2
    assert err == ""
    assert not Path("runs").exists()


def test_verify_another_receipt(
    recipe: Path, receipt: Receipt, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipes", "verify", "sums.yaml"]) == 2
    assert "there is no sums.receipt.json beside it; measure it: " in capsys.readouterr().err
    Path("sent").mkdir()
    forged = receipt.model_dump(mode="json")
    forged["runs"][0]["trained"]["right"] = pack((True,) * 9)
    Path("sent/forged.json").write_text(json.dumps(forged))
    assert main(["recipes", "verify", "sums.yaml", "--receipt", "sent/forged.json"]) == 1
    assert "trained, difference: the raw answers give other" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["missing"], "there is no recipe named `missing`"),
        (["missing.receipt.json"], "no recipe lies beside this receipt"),
        (["cppo"], "the plugin cppo has no recipe with a receipt"),
        (["hf"], "the plugin hf has no recipes"),
        (["sums.yaml", "--receipt", "nowhere.json"], "the receipt cannot be read"),
        (["sums.yaml", "--seed", "3"], "--seed does nothing; add --train"),
        (["sums.yaml", "--out", "x"], "--out does nothing; add --train"),
        (["sums.yaml", "--train", "--seed", "3"], "no run with seed 3; it has 1"),
    ],
)
def test_careless_calls(
    carried: Path, capsys: pytest.CaptureFixture[str], argv: list[str], told: str
) -> None:
    assert main(["recipes", "verify", *argv]) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert "Traceback" not in out + err


def test_check_warns(carried: Path, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "check", "sums.yaml"]) == 0
    assert capsys.readouterr().err == ""
    text = carried.read_text()
    recipe.write_text(recipe.read_text().replace("steps: 2", "steps: 3"))
    assert main(["recipes", "check", "sums.yaml"]) == 0
    err = capsys.readouterr().err
    assert "Q702 note: the receipt is of another recipe: train.steps was 2, is 3" in err
    for broken in ("", "{", text.replace('"receipt": 1', '"receipt": 9'), "[" * 99_999):
        carried.write_text(broken)
        assert main(["recipes", "check", "sums.yaml"]) == 0
        out, err = capsys.readouterr()
        assert "sums.receipt.json:1:1: Q701 note: " in err
        assert out == "sums.yaml: ok\n"
        assert main(["recipes", "show", "sums.yaml"]) == 0
        out, err = capsys.readouterr()
        assert "warning: " in err
        assert main(["recipes", "verify", "sums.yaml"]) == 2
        assert "sums.receipt.json" in capsys.readouterr().err


def test_a_receipt_is_written_beside_the_recipe(
    make_run: Callable[..., Path], recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(make_run())
    assert main(["recipes", "receipt", run]) == 2
    err = capsys.readouterr().err
    assert "the run is of sums, which is no recipe of the library; name the file" in err
    assert main(["recipes", "receipt", run, "--recipe", "sums.yaml", "--note", "at night"]) == 0
    out = capsys.readouterr().out
    assert "#   note       at night" in out
    assert "written to sums.receipt.json" in out
    assert main(["recipes", "verify", "sums.yaml"]) == 0
    capsys.readouterr()
    assert main(["recipes", "receipt", run, "--recipe", "sums.yaml", "--out", "-"]) == 0
    assert Receipt.model_validate_json(capsys.readouterr().out).note == ""
    Path("folder").mkdir()
    assert main(["recipes", "receipt", run, "--recipe", "sums.yaml", "--out", "folder"]) == 0
    assert Path("folder/sums.receipt.json").is_file()
    capsys.readouterr()
    before = recipe.read_text()
    assert main(["recipes", "receipt", run, "--recipe", "sums.yaml", "--out", "sums.yaml"]) == 2
    assert "its name is no receipt's" in capsys.readouterr().err
    assert recipe.read_text() == before
    nowhere = ["--out", "no/such/x.receipt.json"]
    assert main(["recipes", "receipt", run, "--recipe", "sums.yaml", *nowhere]) == 6
    long = ["--note", "x" * 2000]
    assert main(["recipes", "receipt", run, "--recipe", "sums.yaml", *long]) == 3
    assert "note: String should have at most 1000 characters" in capsys.readouterr().err


def test_a_run_that_is_refused(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(evaluated=False, overrides=["optim.lr=0.5"])
    assert main(["recipes", "receipt", str(run), "--recipe", "sums.yaml"]) == 3
    err = capsys.readouterr().err
    assert "it trained another recipe than sums now is: optim.lr was 0.5, is null" in err
    assert f"grpokit eval {run} --base" in err
    assert "no receipt of sums: 2 problems" in err
    assert not Path("sums.receipt.json").exists()
