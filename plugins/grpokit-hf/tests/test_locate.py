"""What ``model.id`` means, and which folders are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from grpokit.api import PreflightError
from grpokit_hf.locate import check_folder, ensure, hub_snapshot, locate


def test_a_catalogued_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2-135m-instruct").mkdir()
    environ = {"GRPOKIT_CACHE": str(tmp_path / "cache")}
    for name in ("smollm2-135m-instruct", "hf/smollm2-135m-instruct"):
        found = locate(name, environ=environ)
        assert found.kind == "catalogue"
        assert found.folder is None


def test_a_folder_then_the_hub(tiny_model_folder: Path, tmp_path: Path, monkeypatch):
    assert locate(str(tiny_model_folder)).kind == "folder"
    monkeypatch.chdir(tiny_model_folder.parent)
    assert locate(tiny_model_folder.name).folder == Path(tiny_model_folder.name)
    found = locate("org/name", environ={"HF_HUB_CACHE": str(tmp_path)})
    assert (found.kind, found.folder) == ("hub", None)


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "~/none-at-all", "a/b/c", "a b", ""])
def test_a_path_that_is_not_there_is_no_hub_id(name: str):
    with pytest.raises(PreflightError, match="no model folder"):
        locate(name)


def hub(tmp_path: Path, folder: Path, commit: str = "c0ffee") -> dict[str, str]:
    """A hub cache with one snapshot."""
    store = tmp_path / "hub" / "models--org--name"
    shutil.copytree(folder, store / "snapshots" / commit)
    (store / "refs").mkdir()
    (store / "refs" / "main").write_text(commit)
    return {"HF_HOME": str(tmp_path)}


def test_the_hubs_cache_is_read_without_the_hub(tiny_model_folder: Path, tmp_path: Path):
    environ = hub(tmp_path, tiny_model_folder)
    found = locate("org/name", environ=environ)
    assert found.folder is not None
    assert ensure(found, environ=environ) == found.folder
    assert hub_snapshot("org/name", "c0ffee", environ) == found.folder
    assert hub_snapshot("org/name", "other", environ) is None
    (found.folder / "model.safetensors").unlink()
    assert hub_snapshot("org/name", None, environ) is None


def test_a_snapshot_with_a_missing_shard_is_not_complete(tiny_model_folder, tmp_path):
    environ = hub(tmp_path, tiny_model_folder)
    folder = hub_snapshot("org/name", None, environ)
    assert folder is not None
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert hub_snapshot("org/name", None, environ) is None


def test_offline_and_absent_names_the_command(tmp_path: Path):
    environ = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    with pytest.raises(PreflightError, match="hf download org/name --revision v2"):
        ensure(locate("org/name", "v2", environ), environ=environ)


def test_pickled_weights_are_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PreflightError, match=r"no \*\.safetensors"):
        check_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(PreflightError, match=r"pickle \(pytorch_model.bin\)"):
        check_folder(tmp_path)


def test_an_adapter_is_no_model(tmp_path: Path):
    with pytest.raises(PreflightError, match=r"no config\.json"):
        check_folder(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(PreflightError, match="is an adapter"):
        check_folder(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"_attn_implementation_internal": "evil/kernel"},
        {"_attn_implementation": "evil/kernel:run"},
        {"text_config": {"_attn_implementation_internal": "sdpa"}},
        {"attn_implementation": {"": "evil/kernel"}},
    ],
)
def test_settings_that_run_code_from_the_hub_are_refused(make_tiny_model, settings):
    folder = make_tiny_model()
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    with pytest.raises(PreflightError, match="code from the hub"):
        check_folder(folder)


def test_plain_attention_names_are_fine(make_tiny_model):
    folder = make_tiny_model()
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "_attn_implementation": "sdpa"}))
    check_folder(folder)
