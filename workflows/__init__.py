"""Dask workflows: which units run, in which order, on which cluster."""
