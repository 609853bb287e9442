"""The `hub` data set, on files that the datasets library reads without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grpokit.api import PreflightError
from grpokit_hf.hub import HubConfig, open_hub

ROWS = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(40)]


def test_out_of_reach_is_a_sentence_with_a_command(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PreflightError) as caught:
        open_hub(HubConfig(id="org/questions"))
    text = str(caught.value)
    assert "org/questions" in text
    assert "hf download --repo-type dataset org/questions" in text
    assert "jsonl" in text


def test_rows_size_and_fingerprint(tmp_path: Path):
    """In a process of its own: the datasets library reads its cache folders at import."""
    pytest.importorskip("datasets")
    folder = tmp_path / "questions"
    folder.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "train.jsonl").write_text(text)
    code = f"""
import json
from grpokit_hf.hub import HubConfig, open_hub
found = [open_hub(HubConfig(id={str(folder)!r}, split=s)) for s in ("train", "train", "train[:10]")]
print(json.dumps([[d.size, d.columns, d[3], d.fingerprint] for d in found]))
"""
    environ = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environ["HF_DATASETS_OFFLINE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    whole, again, part = json.loads(done.stdout.splitlines()[-1])
    assert whole[:3] == [40, ["question", "answer"], ROWS[3]]
    assert whole == again
    assert part[0] == 10
    assert part[3] != whole[3]
