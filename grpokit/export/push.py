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
    wrong = RecipeError(
        f"{repo!r} is no model repository", place="--push", remedy="write owner/name"
    )
    if not REPO.fullmatch(repo):
        raise wrong
    if find_spec("huggingface_hub") is None:
        raise PreflightError(
            "the package huggingface_hub is not installed",
            place="--push",
            remedy="run `pip install huggingface_hub`",
        )
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise PreflightError("HF_HUB_OFFLINE is set", place="--push", remedy="unset it")
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise wrong from error
    if not get_token():
        raise PreflightError(
            "there is no token for the hub",
            place="--push",
            remedy="run `hf auth login`, or set HF_TOKEN to a token that may write",
        )


def push_folder(
    folder: Path, repo: str, *, public: bool = False, say: Callable[[str], None]
) -> str:
    """Uploads every file of ``folder`` in one commit and returns the address.

    A repository that does not exist is made, private unless ``public``; an older one stays what it is.

    Raises:
        CheckpointError: the hub refuses or cannot be reached; the folder stands.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    hidden = "" if public else " --private"
    again = f"`hf upload {repo} {shlex.quote(str(folder))} .{hidden}`"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    say(f"uploading to {repo}:")
    for path in files:
        say(f"  {path.stat().st_size:>14,}  {path.relative_to(folder)}")
    disable_progress_bars()
    api = HfApi()
    try:
        address = api.create_repo(repo, repo_type="model", private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            repo_type="model",
            commit_message="Upload with grpokit",
        )
    except Exception as error:  # noqa: BLE001 - the hub client raises those of several libraries
        raise CheckpointError(
            f"the upload to {repo} failed: {_reason(error)}",
            place=str(folder),
            remedy=f"the folder stands; when the cause is gone, run {again}",
        ) from None  # its cause may hold the token
    return str(address)


def _reason(error: Exception) -> str:
    """The first line, and what the hub says; without the token, which either may quote."""
    from huggingface_hub import get_token

    lines = str(error).strip().splitlines()
    told, token = lines[0] if lines else type(error).__name__, get_token()
    said = " ".join(str(getattr(error, "server_message", None) or "").split())
    whole = f"{told} ({said})" if said and said not in told else told
    return whole.replace(token, "***") if token else whole
