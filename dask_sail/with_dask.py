"""The public names that need Dask; importing this attaches what the package attaches to Dask."""

import dask.dataframe as dd

from . import (
    accessor,  # noqa: F401 - registers df.sail
    shuffle,
)
from .inspection import Inspection, inspect
from .read import read_python_source
from .read_sql import read_sql

__all__ = ["Inspection", "inspect", "read_python_source", "read_sql"]

dd.read_python_source = read_python_source
shuffle.register()
