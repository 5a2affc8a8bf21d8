"""Foundations of all other packages: the schema of fields and forecasts, grids, readers, files, devices, processes."""
