"""Does a data source keep its contract? A suite of pytest tests that its author subclasses."""

try:
    import pytest  # noqa: F401 - optional: named here, or the error would name no extra
except ModuleNotFoundError:
    _missing = True
else:
    _missing = False
if _missing:
    raise ImportError("dask_sail.testing needs pytest; pip install 'dask-sail[testing]'")

from .suite import PythonDataSourceSuite

__all__ = ["PythonDataSourceSuite"]
