"""A short name for the weights of a model folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["weights_hash"]

PIECE = 1 << 20
SMALL = 1 << 29
"""Files up to 512 MiB are hashed whole; of larger ones the header, the size and 16 pieces."""


def weights_hash(folder: Path) -> str:
    """First 16 hex digits of a SHA-256 over the safetensors files.

    Hashing tens of gigabytes would take longer than loading them, so large files are sampled.
    """
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        total.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            if size <= SMALL:
                total.update(hashlib.file_digest(file, "sha256").digest())
                continue
            for place in range(16):
                file.seek(place * (size - PIECE) // 15)
                total.update(file.read(PIECE))
    return total.hexdigest()[:16]
