"""Any data source in a Dask DataFrame, Arrow all the way.

Importing attaches ``dd.read_python_source`` and the ``df.sail`` accessor to Dask, re-registers
three kinds of its dispatch (hashes of Arrow keys, Arrow tables in shuffles, and scalars that are
decimals, dates or times), and wraps ``set_index``, ``sort_values`` and ``loc`` where they meet
Arrow keys; nothing else.
"""

import dask.dataframe as _dd

from . import accessor as _accessor  # noqa: F401 - registers df.sail
from . import shuffle as _shuffle
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
    SchemaError,
    SnapshotError,
    SourceCallError,
    SourceDefinitionError,
    SourceNotFoundError,
)
from .inspection import Inspection, inspect
from .options import register_resolver
from .predicate import Predicate
from .read import read_python_source
from .read_sql import read_sql
from .registered import RegisteredSource, RegisteredSources, sources

__all__ = [
    "BatchError",
    "ClusterError",
    "DivisionError",
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
    "RegisteredSource",
    "RegisteredSources",
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
    "SupportsScan",
    "SupportsSnapshot",
    "SupportsStatistics",
    "SupportsVersion",
    "inspect",
    "read_python_source",
    "read_sql",
    "register_resolver",
    "sources",
]

_dd.read_python_source = read_python_source
_shuffle.register()
