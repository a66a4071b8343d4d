"""The outsider's own tests, run in the environment that it is installed in."""

import pytest

from dask_sail.testing import PythonDataSourceSuite


class TestTides(PythonDataSourceSuite):
    @pytest.fixture
    def source(self):
        return "tides"

    @pytest.fixture
    def options(self):
        return {"days": 3}

    @pytest.fixture
    def bad_options(self):
        return {"days": "three"}

    @pytest.fixture
    def empty_options(self):
        return {"days": 0}
