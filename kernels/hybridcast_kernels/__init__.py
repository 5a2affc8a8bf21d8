"""Numerical kernels of hybridcast: arrays in, arrays out.

Importing this package compiles nothing. It knows numpy and numba, never xarray or hybridcast.

`flow_cpu.estimate`     optical flow of radar frames
`advection_cpu.advect`  semi-Lagrangian advection along a flow
`points`                the arithmetic at one grid point, which both are made of
`parallel`              the threads they run on
`workspace`             scratch arrays that are used again
"""
