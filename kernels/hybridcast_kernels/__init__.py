"""Numerical kernels of hybridcast: arrays in, arrays out.

Importing this package compiles nothing and touches no GPU. It knows numpy and numba, never xarray or hybridcast.

`flow_cpu.estimate`     optical flow of radar frames
`advection_cpu.advect`  semi-Lagrangian advection along a flow
`flow_gpu`, `advection_gpu`  their CUDA twins, on device arrays; `gpu_arrays` is their memory
`cpu`, `gpu`            both, from host to host
`points`                the arithmetic at one grid point, which all are made of
`devices`               which hardware is there: `choose` and `kernels_for`
`parallel`              the threads of the CPU
`workspace`             scratch arrays that are used again
"""
