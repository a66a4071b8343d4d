"""SQL planned by DataFusion, cut at its exchanges, and run stage by stage in Dask tasks."""
