"""The scripts of docs/gpu on a machine without a GPU: they start, say that they measured nothing, and judge right."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "docs/gpu").glob("*.py"))

EACH = """
import importlib.util, sys
from pathlib import Path
for path in map(Path, sys.argv[1:]):
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    sys.argv = [str(path)]
    print(path.stem, module.main())
"""


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_without_a_gpu_each_says_so_and_ends_with_77() -> None:
    lines = python("-c", EACH, *map(str, SCRIPTS)).splitlines()
    said, ends = lines[::2], lines[1::2]
    assert ends == [f"{path.stem} 77" for path in SCRIPTS]
    assert all("CUDA device" in line for line in said)


def test_the_page_has_a_command_for_each() -> None:
    page = (ROOT / "docs/gpu-checks.md").read_text(encoding="utf-8")
    assert [path.stem for path in SCRIPTS if f"`python docs/gpu/{path.name}" not in page] == []


NAN = math.nan
FINE = {
    "repeats": True,
    "differs": True,
    "sampler_logprobs": True,
    "steps": [{"sampler_gap": 0.01, "gap_to_base": 0.0}, {"sampler_gap": 0.02, "gap_to_base": 0.9}],
}


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"sampler_logprobs": False}, False),
        ({"repeats": False}, False),
        ({"steps": [FINE["steps"][0], {"sampler_gap": NAN, "gap_to_base": 0.9}]}, False),  # type: ignore[index]
        ({"steps": [FINE["steps"][0], {"sampler_gap": 0.02, "gap_to_base": NAN}]}, False),  # type: ignore[index]
        ({"steps": [FINE["steps"][0], {"sampler_gap": 0.02, "gap_to_base": 0.1}]}, False),  # type: ignore[index]
    ],
)
def test_what_is_not_a_number_does_not_hold(change: dict[str, Any], holds: bool) -> None:
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import unsloth_fast_inference as script;"
        "print(script.holds(json.loads(sys.argv[2])))"
    )
    found = python("-c", code, str(ROOT / "docs/gpu"), json.dumps({**FINE, **change}))
    assert found.strip() == str(holds)


def judged(packed: dict[str, Any], **rest: Any) -> str:
    flex = {"kernel": "flex", "packed": True, "update": 1.0, "peak": 5, **packed}
    padded = {"kernel": "sdpa", "packed": False, "update": 3.0, "peak": 6}
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import flex_attention as script;"
        "print([script.judge(one, rehearse=False) for one in json.loads(sys.argv[2])])"
    )
    found = [{"flex": flex, "padded": padded, "gap": 1e-6, **rest}]
    return python("-c", code, str(ROOT / "docs/gpu"), json.dumps(found)).strip()


@pytest.mark.parametrize(
    ("packed", "rest", "holds"),
    [
        ({}, {}, True),
        ({"kernel": "sdpa"}, {}, False),
        ({"update": 2.0}, {}, False),
        ({"peak": 7}, {}, False),
        ({}, {"gap": NAN}, False),
        ({}, {"gap": 1e-2, "from_float32": {"flex": 0.012, "padded": 0.01}}, True),
        ({}, {"gap": 1e-2, "from_float32": {"flex": 0.02, "padded": 0.01}}, False),
    ],
)
def test_flex_attention_is_judged(
    packed: dict[str, Any], rest: dict[str, Any], holds: bool
) -> None:
    assert judged(packed, **rest) == f"[{holds}]"


@pytest.mark.parametrize("far", [NAN, math.inf])
def test_what_is_not_a_number_is_far_away(far: float) -> None:
    import parity

    assert parity.gap({"a": [1.0, 2.0]}, {"a": [1.0, far]}) == math.inf
