"""Uploading an export to a model repository of the hub. Only behind ``--push``."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from grpokit.errors import CheckpointError, PreflightError, RecipeError

__all__ = ["check_push", "push_folder"]

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def check_push(repo: str) -> None:
    """Refuses at once what cannot be uploaded at the end.

    Raises:
        RecipeError: ``repo`` is no name of a repository.
        PreflightError: the client is missing, offline, or has no token.
    """
    if not REPO.fullmatch(repo):
        raise RecipeError(
            f"{repo!r} is no model repository", place="--push", remedy="write owner/name"
        )
    if find_spec("huggingface_hub") is None:
        raise PreflightError(
            "the package huggingface_hub is not installed",
            place="--push",
            remedy="run `pip install huggingface_hub`",
        )
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise PreflightError("HF_HUB_OFFLINE is set", place="--push", remedy="unset it")
    from huggingface_hub import get_token

    if not get_token():
        raise PreflightError(
            "there is no token for the hub",
            place="--push",
            remedy="run `hf auth login`, or set HF_TOKEN to a token that may write",
        )


def push_folder(
    folder: Path, repo: str, *, private: bool = False, say: Callable[[str], None]
) -> str:
    """Uploads every file of ``folder`` in one commit and returns the address.

    Raises:
        CheckpointError: the hub refuses or cannot be reached; the folder stands.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    again = f"`hf upload {repo} {shlex.quote(str(folder))} .`"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    say(f"uploading to {repo}:")
    for path in files:
        say(f"  {path.stat().st_size:>14,}  {path.relative_to(folder)}")
    disable_progress_bars()
    api = HfApi()
    try:
        address = api.create_repo(repo, repo_type="model", private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            repo_type="model",
            commit_message="Upload with grpokit",
        )
    except Exception as error:  # the hub client raises errors of several network libraries
        lines = str(error).strip().splitlines()
        raise CheckpointError(
            f"the upload to {repo} failed: {lines[0] if lines else type(error).__name__}",
            place=str(folder),
            remedy=f"the folder stands; when the cause is gone, run {again}",
        ) from error
    return str(address)
