"""A committed set of bad recipes: exit code, places and codes, remedies, in time, no traceback.

The first line of each file says what must be found: ``# expect: CODE@line:col ...``; problems in
another file are ``CODE@file:line:col``.
"""

import gc
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from grpokit.compose import yaml as recipe_yaml
from grpokit.compose.diagnostics import CODES, RecipeProblems, Report
from grpokit.compose.load import load_recipe
from grpokit.errors import ExitCode
from grpokit.registry.catalog import Catalog

FOLDER = Path(__file__).parent / "bad_recipes"
FILES = sorted(FOLDER.glob("*.yaml"))
GOOD = """\
grpokit: 1
model: {id: some/model}
dataset: {use: arithmetic}
rewards: [{use: number}]
"""


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


def expected(file):
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    found = set()
    for item in first.removeprefix("# expect: ").split():
        code, _, place = item.partition("@")
        *other, line, col = place.split(":")
        found.add((code, other[0] if other else file.name, int(line), int(col)))
    assert found, f"{file.name} does not say what is expected"
    return found


def check(name, catalog, folder, **options):
    """The problems of a bad recipe; loading it must fail, and quickly.

    What earlier tests left in this process is not collected meanwhile: a command has none of it.
    """
    gc.disable()
    try:
        begin = time.process_time()
        with pytest.raises(RecipeProblems) as caught:
            load_recipe(str(name), catalog=catalog, cwd=folder, **options)
        seconds = time.process_time() - begin
    finally:
        gc.enable()
    assert seconds < 0.5, f"{name} took {seconds:.2f} s"
    return caught.value


def found(error):
    return {(item.code, item.file, item.line, item.col) for item in error.diagnostics}


def test_there_are_at_least_sixty():
    assert len(FILES) >= 60


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_problem_is_found_at_its_place(file, catalog):
    error = check(file.name, catalog, FOLDER)
    assert found(error) == expected(file)
    assert error.exit_code == ExitCode.USAGE
    for line in error.problems:
        place, _, rest = line.partition(": ")
        assert re.fullmatch(r"[\w./-]+:\d+:\d+", place), line
        code, _, sentence = rest.partition(" ")
        assert code in CODES
        assert "; " in sentence, f"no remedy: {line}"
        assert "\n" not in line
        assert not re.search(r"pydantic|errors\.pydantic\.dev|Input should|Traceback", line), line
        assert line.isprintable(), line


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_problems_are_sorted(file, catalog):
    places = [(d.file, d.line, d.col) for d in check(file.name, catalog, FOLDER).diagnostics]
    assert places == sorted(places)


SYNTAX = [file for file in FILES if re.search(r"expect: Y2|F1", file.read_text(encoding="utf-8"))]


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
@pytest.mark.parametrize("file", SYNTAX, ids=lambda file: file.stem)
def test_both_parsers_of_pyyaml_say_the_same(file):
    text = file.read_text(encoding="utf-8")
    said = []
    for fast in (True, False):
        report = Report()
        recipe_yaml.parse_yaml(text, "x", report, fast=fast)
        said.append([(d.code, d.line) for d in report.items])
    assert said[0] == said[1]


def test_one_command_checks_all_files_and_prints_no_traceback():
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "grpokit", "recipes", "check", *[file.name for file in FILES]],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""
    for file in FILES:
        for code, name, line, col in expected(file):
            assert f"{name}:{line}:{col}: {code} " in done.stderr
    assert time.perf_counter() - begin < 0.1 * len(FILES)


@pytest.mark.parametrize(
    "name", ["python-tag-object", "alias-bomb", "many-at-once", "empty-of-all", "rule-warmup"]
)
@pytest.mark.parametrize("command", [["recipes", "check"], ["plan"], ["train"]])
def test_the_commands_say_it_with_exit_code_2(name, command):
    file = FOLDER / f"{name}.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "grpokit", *command, file.name],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    wanted = expected(file) if file.exists() else {("F101", file.name, 1, 1)}
    for code, where, line, col in wanted:
        assert f"{where}:{line}:{col}: {code} " in done.stderr


def test_check_as_json(catalog):
    done = subprocess.run(
        [sys.executable, "-m", "grpokit", "recipes", "check", "--json", "number-quoted.yaml"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    (result,) = json.loads(done.stdout)["recipes"]
    assert result["ok"] is False
    (problem,) = result["problems"]
    assert (problem["code"], problem["line"], problem["col"]) == ("K404", 6, 13)
    assert problem["remedy"] == "remove the quotes"


def test_fourteen_problems_of_one_file_are_told_at_once(catalog):
    error = check("many-at-once.yaml", catalog, FOLDER)
    assert len(error.diagnostics) == 14
    assert str(error).startswith("14 problems in many-at-once.yaml")
    by_code = {item.code: item for item in error.diagnostics}
    assert by_code["C501"].remedy == "did you mean `arithmetic`?"
    assert by_code["C509"].remedy == "did you mean `boxed`?"
    assert by_code["K405"].remedy == "write true"


# ----------------------------------------------------------------- files that cannot be committed


def bad_bytes(tmp_path, raw, catalog, name="recipe.yaml"):
    (tmp_path / name).write_bytes(raw)
    return check(name, catalog, tmp_path)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"", {("F109", 1, 1)}),
        (b"   \n\n", {("F109", 1, 1)}),
        (b"\xef\xbb\xbf" + GOOD.encode(), {("F107", 1, 1)}),
        (GOOD.replace("\n", "\r\n").encode(), {("F108", 1, 11)}),
        (GOOD.encode() + b"summary: a\rb\n", {("F108", 5, 11), ("Y201", 6, 1)}),
        (GOOD.encode("utf-16"), {("F106", 1, 1)}),
        (GOOD.encode() + b"summary: caf\xe9\n", {("F106", 5, 13)}),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", {("F105", 3, 1)}),
        (b"\x7fELF\x02\x01\x01\x00", {("F105", 1, 8)}),
        (GOOD.encode() + b"# " + b"x" * 1_000_000, {("F104", 1, 1)}),
        (b"x" * 50_000_000, {("F104", 1, 1)}),
        (b"summary: [" + b"1," * 30_000 + b"]\n", {("Y210", 1, 40_005)}),
        (b"a: " + b"[" * 900_000, {("Y209", 1, 35)}),
        (b"- " * 450_000, {("Y209", 1, 65)}),
        (b"{" * 900_000, {("Y209", 1, 33)}),
    ],
    ids=[
        "empty", "blank", "bom", "crlf", "cr", "utf-16", "latin-1", "png", "elf", "over-1-mb",
        "50-mb", "30000-values", "brackets", "dashes", "braces",
    ],
)  # fmt: skip
def test_files_that_are_no_recipes(tmp_path, raw, wanted, catalog):
    error = bad_bytes(tmp_path, raw, catalog)
    assert {(d.code, d.line, d.col) for d in error.diagnostics} == wanted


@pytest.mark.parametrize(
    "raw",
    [
        b"# " + b"x" * 900_000 + b"\nsummary: 1\n",
        b"summary: " + b"b" * 900_000,
        b"summary: " + b"9" * 900_000,
        b"".join(b"k%d: 1\n" % index for index in range(9_900)),
        b"rollout: {" + b"".join(b"k%d: 1, " % index for index in range(9_900)) + b"}\n",
        b"? " * 400_000,
        b"!" * 900_000,
        b"&a " * 300_000,
        b"'" + b"''" * 400_000,
        b"summary: |\n" + b"  line\n" * 120_000,
    ],
    ids=[
        "comment", "text", "digits", "keys", "keys-in-braces", "complex-keys", "tags", "anchors",
        "quotes", "block",
    ],
)  # fmt: skip
def test_a_large_file_is_refused_in_time(tmp_path, raw, catalog):
    assert len(raw) < 1_000_000
    assert bad_bytes(tmp_path, raw, catalog).exit_code == ExitCode.USAGE


def test_byte_order_mark_and_line_ends_are_told_with_the_rest(tmp_path, catalog):
    text = GOOD + 'optim: {lr: "1e-6"}\n'
    raw = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    error = bad_bytes(tmp_path, raw, catalog)
    places = [(d.code, d.line, d.col) for d in error.diagnostics]
    assert places == [("F107", 1, 1), ("F108", 1, 11), ("K404", 5, 13)]


def test_folders_and_devices(tmp_path, catalog):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "folder.yaml" / "a.yaml").write_text(GOOD)
    folder = check("folder.yaml", catalog, tmp_path).diagnostics[0]
    assert folder.code == "F102"
    assert "a.yaml" in folder.remedy
    assert check("/dev/zero", catalog, tmp_path).diagnostics[0].code == "F102"
    os.mkfifo(tmp_path / "pipe.yaml")
    assert check("pipe.yaml", catalog, tmp_path).diagnostics[0].code == "F102"


def test_an_unreadable_file(tmp_path, catalog):
    file = tmp_path / "recipe.yaml"
    file.symlink_to(file)  # a loop: the system refuses to open it, whoever asks
    assert check("recipe.yaml", catalog, tmp_path).diagnostics[0].code == "F103"


def test_a_missing_file_and_an_unknown_name(tmp_path, catalog):
    assert check("missing.yaml", catalog, tmp_path).diagnostics[0].code == "F101"
    unknown = check("quickstrat", catalog, tmp_path).diagnostics[0]
    assert unknown.remedy == "did you mean `quickstart`?"
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert (
        check("mine", catalog, tmp_path).diagnostics[0].remedy == "for the file write `./mine.yaml`"
    )
    strange = check("evil\x1b[31m\nname", catalog, tmp_path)
    assert strange.problems[0].isprintable()


def test_a_missing_first_party_plugin_ends_with_the_preflight_code(tmp_path, catalog):
    (tmp_path / "a.yaml").write_text(GOOD + "backend: {use: unsloth}\n")
    without = Catalog([record for record in catalog.plugins if record.name != "unsloth"])
    error = check("a.yaml", without, tmp_path)
    (problem,) = error.diagnostics
    assert (problem.code, problem.line, problem.col) == ("C504", 5, 16)
    assert problem.remedy == (
        "pip install grpokit-unsloth; "
        "`grpokit doctor --write-constraints unsloth` has versions that fit"
    )
    assert error.exit_code == ExitCode.PREFLIGHT


def test_every_code_is_tested_or_listed():
    told = {code for file in FILES for code, *_ in expected(file)}
    told |= set(re.findall(r'"([FYXKCR]\d{3})"', Path(__file__).read_text(encoding="utf-8")))
    names = ("test_overrides.py", "test_load.py", "test_components.py", "test_extends.py")
    for name in (*names, "../interop/test_foreign.py"):
        told |= set(re.findall(r"\b([FYXKCR]\d{3})\b", (FOLDER.parent / name).read_text()))
    assert told >= set(CODES)
