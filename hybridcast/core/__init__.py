"""What every other package stands on: the contract of a field, grids, files, devices and workers."""
