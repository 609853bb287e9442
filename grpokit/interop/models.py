"""Catalogued models elsewhere: the folder of a model by its name, brought if it is not here."""

from __future__ import annotations

from grpokit.interop.names import installed
from grpokit.registry import models

__all__ = ["folder"]


def folder(name: str) -> str:
    """The folder of a catalogued model; any other name, a folder or a hub id, as it is."""
    entry = models.find(name, installed())
    return name if entry is None else str(models.bring(entry))
