"""CockroachDB, read by psycopg.

Its protocol, types and conditions run on PostgreSQL in the tests; no CockroachDB was asked.
"""

from __future__ import annotations

import pyarrow as pa

from ..options import JDBCOptions
from .literals import double_quoted
from .postgresql_wire import PRINTED, RULES, wire_dialect
from .type_table import TypeRule

__all__ = ["DIALECT"]


def _session(options: JDBCOptions) -> list[str]:
    settings = [
        "timezone = 'UTC'",
        "datestyle = 'ISO, YMD'",
        "extra_float_digits = 3",
        "bytea_output = 'hex'",
    ]
    if options.url.schema:
        settings.append(f"search_path = {double_quoted(options.url.schema)}")
    if options.query_timeout:
        settings.append(f"statement_timeout = {options.query_timeout * 1000}")
    return [*(f"SET {setting}" for setting in settings), "BEGIN READ ONLY"]


DIALECT = wire_dialect(
    name="cockroachdb",
    label="CockroachDB",
    # Texts are never compared: a column with a collation is told as an ordinary text.
    rules=[
        *RULES,
        TypeRule(
            names=("numeric",), arrow=pa.decimal128(38, 18), read="{0}::text", raw=pa.string(),
            compared="order", cut=True, note="a value that does not fit is an error",
        ),
        TypeRule(names=("bytea",), arrow=pa.binary(), compared="equality"),
        TypeRule(names=("oid",), arrow=pa.uint32(), read="{0}::int8", raw=pa.int64()),
    ],
    other=PRINTED,
    session=_session,
)  # fmt: skip
