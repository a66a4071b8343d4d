"""Any data source in a Dask DataFrame, Arrow all the way."""
