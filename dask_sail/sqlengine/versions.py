"""Which DataFusion this is, and whether its serialised plans can be trusted.

Plan bytes and hash functions are DataFusion's internals: another version may read a plan without
complaint, and mean something else by it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket

import datafusion
import pyarrow as pa
from datafusion import ExecutionPlan, SessionConfig, SessionContext

from .errors import SQLVersionError
from .splice import Template

__all__ = ["TESTED", "check", "doubt", "fingerprint"]

#: Versions whose plans the tests have cut, run and compared.
TESTED = ("55.0.0",)

_CANARY = (
    "SELECT a.k, count(*), sum(a.v * 2.5), min(b.v), max('x' || a.s) FROM a JOIN b ON a.k = b.k "
    "WHERE a.v > 1 AND a.s <> 'no' GROUP BY a.k ORDER BY a.k DESC"
)
_FEW = " LIMIT 3"  # not in the fingerprint: a sort for the first few rows has a number of its own


@functools.cache
def fingerprint() -> str:
    """Return the version of DataFusion, and a hash of the bytes of a plan that it makes.

    The plan routes rows by hash, joins, aggregates and sorts.
    """
    message = _canary_plan(_CANARY, _rows(0), partitions=4).to_bytes()
    return f"{datafusion.__version__} ({hashlib.sha256(message).hexdigest()[:12]})"


def check(planned: str) -> None:
    """Compare the DataFusion that planned a query with the one of this process.

    Raises
    ------
    SQLVersionError
        If they differ.
    """
    if planned != fingerprint():
        place = f"process {os.getpid()} on {socket.gethostname()}"
        raise SQLVersionError(place, fingerprint(), planned)


@functools.cache
def doubt() -> str | None:
    """Return why plans of this DataFusion are better not cut, or None if they may be.

    Once per process a query runs as it is, and with the rows of another table spliced into it.
    """
    version = datafusion.__version__
    if version not in TESTED:
        return f"DataFusion {version} is not among the tested versions ({', '.join(TESTED)})"
    try:
        same = _spliced(_rows(0), _rows(5)) == _native(_rows(5))
    except Exception as error:  # noqa: BLE001 - whatever it is, plans are not to be trusted then
        return f"DataFusion {version} does not read a plan that was spliced: {error}"
    return None if same else f"DataFusion {version} reads a spliced plan wrongly"


def _rows(start: int) -> pa.RecordBatch:
    count = range(start, start + 12)
    return pa.record_batch(
        {
            "k": pa.array([i % 4 for i in count], pa.int64()),
            "v": pa.array([None if i % 5 == 0 else i / 4 for i in count], pa.float64()),
            "s": pa.array(["no" if i % 3 == 0 else f"s{i}" for i in count], pa.string()),
        }
    )


def _canary_plan(sql: str, rows: pa.RecordBatch, partitions: int) -> ExecutionPlan:
    config = SessionConfig({"datafusion.optimizer.enable_dynamic_filter_pushdown": "false"})
    ctx = SessionContext(config.with_target_partitions(partitions))
    for name in "ab":
        ctx.register_record_batches(name, [[rows]])
    return ctx.sql(sql).execution_plan()


def _leaves(plan: ExecutionPlan) -> list[bytes]:
    inner = [leaf for child in plan.children() for leaf in _leaves(child)]
    return inner if plan.children() else [plan.to_bytes()]


def _native(rows: pa.RecordBatch) -> list[dict[str, object]]:
    return _run(_canary_plan(_CANARY + _FEW, rows, 1).to_bytes())


def _spliced(before: pa.RecordBatch, after: pa.RecordBatch) -> list[dict[str, object]]:
    plan, other = (_canary_plan(_CANARY + _FEW, rows, 1) for rows in (before, after))
    holes = [(leaf, str(i)) for i, leaf in enumerate(_leaves(plan))]
    template = Template.compile(plan.to_bytes(), holes)
    return _run(template.fill({str(i): [leaf] for i, leaf in enumerate(_leaves(other))}))


def _run(message: bytes) -> list[dict[str, object]]:
    ctx = SessionContext(SessionConfig().with_target_partitions(1))
    plan = ExecutionPlan.from_bytes(ctx, message)
    return [row for batch in ctx.execute(plan, 0) for row in batch.to_pyarrow().to_pylist()]
