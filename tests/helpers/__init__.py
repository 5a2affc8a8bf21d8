"""Modules that several test modules share: simulated data with known truth, and the oracle of the kernels."""
