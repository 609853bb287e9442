"""One rule for every random number: a seed is a hash of what it is for."""

from __future__ import annotations

import hashlib

__all__ = ["derive_seed"]


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from named parts, such as ``derive_seed(run_seed, step, prompt_id, sample)``.

    Equal parts give equal seeds on every machine and in every process; different parts give
    unrelated ones. Integers and strings are kept apart, so ``1`` and ``"1"`` differ.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
