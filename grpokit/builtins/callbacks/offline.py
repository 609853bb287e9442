"""What an offline run of Weights & Biases holds. Its buffer is lost when a run is killed, so nobody else knows."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["held", "log_records"]

BLOCK, HEADER = 2**15, 7
"""Bytes of a block, and of what stands before a record and before the first block's records."""
_WHOLE, _LAST = 1, 4


def held(folder: Path, run: str) -> tuple[int, int]:
    """The last step and the last evaluated step in the files of this run."""
    from wandb.proto.wandb_internal_pb2 import Record

    step = evaluated = 0
    for path in folder.glob(f"offline-run-*-{run}/*.wandb"):
        for data in log_records(path.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            items = {
                item.key or "/".join(item.nested_key): item.value_json
                for item in record.history.item
            }
            if "step" in items:
                here = json.loads(items["step"])
                if any(key.startswith("eval/") for key in items):
                    evaluated = max(evaluated, here)
                else:
                    step = max(step, here)
    return step, evaluated


def log_records(data: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format; a torn last one is left out."""
    place, parts = HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:  # what is left of a block is padding
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        place += HEADER
        if place + length > len(data):
            return
        parts += data[place : place + length]
        place += length
        if kind in (_WHOLE, _LAST):
            yield parts
            parts = b""
