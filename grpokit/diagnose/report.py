"""Findings as data: ``diagnosis.json`` in a run's folder, and ``grpokit doctor RUN --json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grpokit.diagnose.diagnosis import Diagnosis, Finding
from grpokit.diagnose.findings import FINDINGS
from grpokit.diagnose.rollouts import Sample

__all__ = ["NAME", "Key", "Shown", "as_data", "samples_of"]

NAME = "diagnosis.json"
"""The file's name in a run's folder."""
Key = tuple[str, str]
"""A finding's name and the reward that it is about."""
Shown = Mapping[Key, Sequence[Sample]]


def as_data(diagnosis: Diagnosis, source: Path, kind: str, shown: Shown) -> dict[str, Any]:
    """Everything found so far, the gravest first, with samples that show it.

    A finding has the attributes of :class:`Finding`, the keys of the recipe that its remedy names,
    and its samples. Their texts are a model's, so they are hostile.
    """
    rows = diagnosis.history.rows
    findings = diagnosis.findings()
    return {
        "format": 1,
        "source": str(source),
        "kind": kind,
        "rows": len(rows),
        "last_step": max(row.step for row in rows),
        "stop": any(finding.severity == "stop" for finding in findings),
        "findings": [_finding(each, shown.get((each.name, each.subject), ())) for each in findings],
    }


def _finding(finding: Finding, shown: Sequence[Sample]) -> dict[str, Any]:
    return {
        **asdict(finding),
        "keys": FINDINGS[finding.name].keys,
        "samples": [asdict(sample) for sample in shown],
    }


def samples_of(run: Path) -> dict[Key, list[Sample]]:
    """The samples in the ``diagnosis.json`` of a run that goes on; none where it cannot be read."""
    try:
        findings = json.loads((run / NAME).read_text(encoding="utf-8"))["findings"]
        return {
            (each["name"], each["subject"]): [Sample(**sample) for sample in each["samples"]]
            for each in findings
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
