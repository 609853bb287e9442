"""A cache folder that holds grpokit's compiled C code already.

Compiling takes ten seconds and more; that it works in an empty cache is what test_native.py is for.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["warm"]


def warm(cache: Path) -> Path:
    """The folder ``cache``, with the library of this user's own cache in it; without a compiler as it was."""
    from grpokit_hf.native import build

    own = {key: value for key, value in os.environ.items() if key != "GRPOKIT_CACHE"}
    try:
        made = build.build(own)
        place = build.folder(own | {"GRPOKIT_CACHE": str(cache)})
    except build.NoLibraryError:
        return cache
    shutil.copy2(made, place)
    return cache
