"""Probing rewards: what do lazy, lying and hostile completions earn?

    check(setups, rows) -> Report

probes.yaml  the completions, the ways to write an answer, the promises
library      reads them
expand       a probe on one row: gold answer, wrong answers and prompt put in
rows         questions for rewards that are checked alone
gold         which column holds the gold answer, and how the rewards want an answer written
pieces       the probes on the rows, all at once, or bit by bit where time is short
measure      scores from real workers, with those of the right and the wrong answer beside them
judge        which probes failed, on how many rows, for whom
contract     repetition, order, failures, ranges
odd          rows without a gold answer, with more columns or messages; leaks; equal scores
outside      threads, start-up, files and connections, by ``audit`` in a process of its own
strategies   what each lazy strategy earns against a right answer
report       the result as data
check        all of it in order
"""

from __future__ import annotations

from grpokit.probes.check import check
from grpokit.probes.report import Checked, Finding, Report, Strategy

__all__ = ["Checked", "Finding", "Report", "Strategy", "check"]
