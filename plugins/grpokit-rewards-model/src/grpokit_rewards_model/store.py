"""Verdicts and spending in one SQLite file.

Several processes may use it at the same time: it is in WAL mode, every change is one transaction, and
whoever finds it locked waits. It must be on a local disk. It holds hashes of what was asked, the
grade, the end of the judge's reasons and token counts; never a key, a prompt or a completion.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from grpokit.api import ComponentError

__all__ = ["Key", "Known", "Line", "Store", "default_file"]

VERSION = 1
PATIENCE = 30.0
"""Seconds to wait for another process's transaction."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    question TEXT NOT NULL, completion TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
    settings TEXT NOT NULL, grade REAL NOT NULL, reason TEXT NOT NULL, created REAL NOT NULL,
    PRIMARY KEY (question, completion, endpoint, model, settings)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
    account TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0, answers INTEGER NOT NULL DEFAULT 0,
    reused INTEGER NOT NULL DEFAULT 0, tokens_in INTEGER NOT NULL DEFAULT 0,
    tokens_out INTEGER NOT NULL DEFAULT 0, cost REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (account, endpoint, model)
) WITHOUT ROWID;
"""
_WHERE = "question = ? AND completion = ? AND endpoint = ? AND model = ? AND settings = ?"
_BOOK = """
INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
    answers = answers + excluded.answers, reused = reused + excluded.reused,
    tokens_in = tokens_in + excluded.tokens_in, tokens_out = tokens_out + excluded.tokens_out,
    cost = cost + excluded.cost
"""


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a verdict depends on; texts and settings as hashes."""

    question: str
    completion: str
    endpoint: str
    model: str
    settings: str


@dataclass(frozen=True)
class Known:
    """A verdict of an earlier request."""

    grade: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """What an account has spent on one model. Requests without an answer were broken off or refused."""

    account: str
    endpoint: str
    model: str
    requests: int = 0
    answers: int = 0
    reused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


def default_file() -> Path:
    """``$GRPOKIT_CACHE/judge.sqlite``, else in grpokit's folder of the user's cache."""
    own = os.environ.get("GRPOKIT_CACHE", "")
    if own:
        return Path(own).expanduser().absolute() / "judge.sqlite"
    shared = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(shared) if shared.startswith("/") else Path.home() / ".cache"
    return base / "grpokit" / "judge.sqlite"


class Store:
    """The file, opened. It is made, readable by its owner alone, where it is missing.

    Raises:
        ComponentError: it cannot be opened, or is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._base = sqlite3.connect(
                path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except sqlite3.Error:
                self._base.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise ComponentError(
                f"the file of verdicts cannot be used: {error}",
                place=str(path),
                remedy="set `cache` of the reward to a file on a local disk, or remove this one",
            ) from error

    def _prepare(self) -> None:
        self._execute("PRAGMA journal_mode=WAL")
        self._execute("PRAGMA synchronous=NORMAL")
        with self._transaction() as base:
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError(f"it is of version {version}, this is {VERSION}")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                base.execute(statement)
            base.execute(f"PRAGMA user_version={VERSION}")

    def find(self, key: Key) -> Known | None:
        query = f"SELECT grade, reason FROM verdicts WHERE {_WHERE}"  # noqa: S608  # our own text
        with self._lock:
            row = self._base.execute(query, astuple(key)).fetchone()
        return None if row is None else Known(*row)

    def keep(self, key: Key, known: Known) -> None:
        row = (*astuple(key), known.grade, known.reason, time.time())
        with self._transaction() as base:
            base.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def book(self, line: Line) -> None:
        """Adds a line's numbers to the account."""
        with self._transaction() as base:
            base.execute(_BOOK, astuple(line))

    def spent(self, account: str) -> float:
        query = "SELECT coalesce(sum(cost), 0) FROM accounts WHERE account = ?"
        with self._lock:
            return float(self._base.execute(query, (account,)).fetchone()[0])

    def lines(self) -> list[Line]:
        names = tuple(Line.__dataclass_fields__)
        query = f"SELECT {', '.join(names)} FROM accounts ORDER BY account, endpoint, model"  # noqa: S608
        with self._lock:
            rows = self._base.execute(query).fetchall()
        return [Line(**dict(zip(names, row, strict=True))) for row in rows]

    def close(self) -> None:
        self._base.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._execute("BEGIN IMMEDIATE")
            try:
                yield self._base
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def _execute(self, statement: str) -> None:
        """Waits also where SQLite itself does not: two processes that both switch a new file to WAL."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._base.execute(statement)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)
            else:
                return
