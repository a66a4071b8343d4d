"""Where engines find the sources: installed once more, as the module ``pyspark_dask_sail``.

PySpark looks for importable modules whose names begin with ``pyspark_``, and in each for a
``DefaultSource``. Lakesail comes by the entry points.
"""

import pyspark  # noqa: F401 - first, so that dask_sail leaves Dask alone

from dask_sail.spark import JDBCSource
from dask_sail.spark import PythonSource as DefaultSource

__all__ = ["DefaultSource", "JDBCSource"]
