"""The one source file that a receipt holds a reward to."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from grpokit.registry.catalog import FOREIGN_SCHEMES
from grpokit.registry.resolve import source_hash
from grpokit.registry.source import read_source

if TYPE_CHECKING:
    from grpokit.registry.catalog import Entry

__all__ = ["module_hash"]


def module_hash(entry: Entry) -> str:
    """First 16 hex digits of the SHA-256 of the module that the reward stands in, nothing else.

    A run is compared with ``source_hash``, which may look further: what it imports may be the next
    release's. A receipt is published, and every edit of a helper must not undo it.
    Another trainer's reward, and one without a readable file, have ``source_hash``.
    """
    module = entry.spec.target.partition(":")[0]
    foreign = entry.id.partition(":")[0] in FOREIGN_SCHEMES and ":" in entry.id
    source = None if foreign else read_source(module)
    return source_hash(entry) if source is None else hashlib.sha256(source).hexdigest()[:16]
