"""Amazon Redshift, read by psycopg.

Its protocol, types and conditions run on PostgreSQL in the tests; no Redshift was asked.
"""

from __future__ import annotations

from ..options import JDBCOptions
from .literals import double_quoted
from .postgresql_wire import PRINTED, RULES, wire_dialect
from .type_table import TypeRule

__all__ = ["DIALECT"]


def _session(options: JDBCOptions) -> list[str]:
    settings = ["TIMEZONE TO 'UTC'", "DATESTYLE TO 'ISO, YMD'", "EXTRA_FLOAT_DIGITS TO 2"]
    if options.url.schema:
        settings.append(f"SEARCH_PATH TO {double_quoted(options.url.schema)}")
    if options.query_timeout:
        settings.append(f"STATEMENT_TIMEOUT TO {options.query_timeout * 1000}")
    return [*(f"SET {setting}" for setting in settings), "BEGIN READ ONLY"]


DIALECT = wire_dialect(
    name="redshift",
    label="Redshift",
    # Texts are never compared: a database or a column may ignore case. SUPER, VARBYTE, GEOMETRY and
    # their likes cannot be cast to text, each has its own function.
    rules=[
        *RULES,
        TypeRule(names=("timetz", "interval"), arrow=PRINTED.arrow, read=PRINTED.read,
                 note="as Redshift prints it"),
    ],
    other=None,
    session=_session,
)  # fmt: skip
