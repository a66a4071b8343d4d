"""Any data source in a Dask DataFrame, Arrow all the way.

Importing attaches ``dd.read_python_source`` and the ``df.sail`` accessor to Dask, re-registers
three kinds of its dispatch (hashes of Arrow keys, Arrow tables in shuffles, and scalars that are
decimals, dates or times), and wraps ``set_index``, ``sort_values`` and ``loc`` where they meet
Arrow keys; nothing else. Where PySpark is loaded and Dask is not, that waits until it is.
"""

import sys as _sys
from typing import TYPE_CHECKING as _TYPE_CHECKING

from .datasource import (
    PartitionSpec,
    PartitionStatistics,
    PythonDataSource,
    Scan,
    Snapshot,
    SupportsCancel,
    SupportsConcurrency,
    SupportsDescription,
    SupportsDivisions,
    SupportsOptionNames,
    SupportsScan,
    SupportsSnapshot,
    SupportsStatistics,
    SupportsVersion,
)
from .errors import (
    BatchError,
    ClusterError,
    DivisionError,
    FilterError,
    OptionError,
    PartitionReadError,
    PlanError,
    PythonDataSourceError,
    ReadOnlyError,
    SchemaError,
    SnapshotError,
    SourceCallError,
    SourceDefinitionError,
    SourceNotFoundError,
)
from .options import register_resolver
from .predicate import Predicate
from .registered import RegisteredSource, RegisteredSources, sources
from .sqlengine.errors import (
    SQLAmbiguousNameError,
    SQLError,
    SQLExecutionError,
    SQLNameError,
    SQLNotSupportedError,
    SQLQueryError,
    SQLStatementError,
    SQLSyntaxError,
    SQLTypeError,
    SQLVersionError,
)

__all__ = [
    "BatchError",
    "ClusterError",
    "DivisionError",
    "Explanation",
    "FilterError",
    "Inspection",
    "OptionError",
    "PartitionReadError",
    "PartitionSpec",
    "PartitionStatistics",
    "PlanError",
    "Predicate",
    "PythonDataSource",
    "PythonDataSourceError",
    "ReadOnlyError",
    "RegisteredSource",
    "RegisteredSources",
    "SQLAmbiguousNameError",
    "SQLContext",
    "SQLError",
    "SQLExecutionError",
    "SQLNameError",
    "SQLNotSupportedError",
    "SQLQueryError",
    "SQLStatementError",
    "SQLSyntaxError",
    "SQLTypeError",
    "SQLVersionError",
    "Scan",
    "SchemaError",
    "Snapshot",
    "SnapshotError",
    "SourceCallError",
    "SourceDefinitionError",
    "SourceNotFoundError",
    "SupportsCancel",
    "SupportsConcurrency",
    "SupportsDescription",
    "SupportsDivisions",
    "SupportsOptionNames",
    "SupportsScan",
    "SupportsSnapshot",
    "SupportsStatistics",
    "SupportsVersion",
    "inspect",
    "read_python_source",
    "read_sql",
    "register_resolver",
    "sources",
    "sql",
]

if _TYPE_CHECKING:
    from .sqlengine.context import SQLContext, sql
    from .sqlengine.explain import Explanation

if _TYPE_CHECKING or "dask" in _sys.modules or "pyspark" not in _sys.modules:
    from .with_dask import Inspection, inspect, read_python_source, read_sql
else:
    # As on Spark's executors, where Dask would cost each process a second, and nobody uses it.
    from .waiting import after_import as _after_import

    def _load_with_dask() -> None:
        from . import with_dask

        globals().update({name: getattr(with_dask, name) for name in with_dask.__all__})

    _after_import("dask.dataframe", _load_with_dask)


def __getattr__(name: str) -> object:
    """Bring what waits for its first use: SQL, as DataFusion takes a while to load, and Dask."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import dask.dataframe  # noqa: F401 - after which all names but those of SQL are here

    if name in ("Explanation", "SQLContext", "sql"):
        from .sqlengine import context

        return getattr(context, name)
    return globals()[name]
