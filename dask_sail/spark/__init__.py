"""Any data source as one of PySpark 4, and of Lakesail: the format ``python``.

Imports no Dask, since it runs on Spark's executors.
"""

from importlib.util import find_spec

if find_spec("pyspark") is None:
    raise ImportError(
        "dask_sail.spark needs PySpark 4, which is not installed; pip install 'dask-sail[spark]', "
        "or 'dask-sail[lakesail]' for Lakesail",
        name="pyspark",
    )

from .source import JDBCSource, PythonSource

__all__ = ["JDBCSource", "PythonSource"]
