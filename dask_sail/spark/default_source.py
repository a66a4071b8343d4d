"""What PySpark finds without being told: installed once more, as the module ``pyspark_dask_sail``.

PySpark looks for importable modules whose names begin with ``pyspark_``, and in each for a
``DefaultSource``.
"""

from dask_sail.spark import PythonSource as DefaultSource

__all__ = ["DefaultSource"]
