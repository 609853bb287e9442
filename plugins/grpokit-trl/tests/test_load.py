"""A model folder that cannot be loaded is a message, and no traceback."""

from __future__ import annotations

import shutil

import pytest

from grpokit.api import PreflightError


def test_weights_of_a_copy_that_was_broken_off_are_named(
    tiny_model_folder, make_recipe, open_backend, tmp_path
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:4000])
    with pytest.raises(PreflightError, match=r"cannot load the model") as told:
        open_backend(make_recipe(folder))
    assert str(folder) in str(told.value)
