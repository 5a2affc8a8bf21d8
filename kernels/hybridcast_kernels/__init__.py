"""Numerical kernels of hybridcast: arrays in, arrays out.

Importing this package compiles nothing and touches no GPU. It imports numpy, numba and scipy's FFT, never xarray or
hybridcast.

`flow_cpu.estimate`     optical flow of radar frames
`advection_cpu.advect`  semi-Lagrangian advection along a flow
`flow_gpu`, `advection_gpu`  the same on a CUDA device, on device arrays; `gpu_arrays` allocates them
`cpu`, `gpu`            flow and advection from host arrays to host arrays, on either device
`scales_cpu`            the scale filter, and probability matching
`planes_cpu`, `resample_cpu`, `trajectories`  coarse planes, changes of resolution, departure points of single cells
`fused_cpu`             the fields of a fused forecast in one pass
`trees_cpu`, `convolution_cpu`  predictions of boosted trees, and layers of a network
`lattice_noise_cpu`, `realizations_cpu`  correlated noise, and the rain of members of an ensemble from it
`packing_cpu`           rates in fewer bits, as files have them
`verification_cpu`      sums and counts of the verification
`points`                the arithmetic at one grid point, which flow and advection share
`devices`               detection of the hardware: `choose` and `kernels_for`
`parallel`              the threads of the CPU
`workspace`             scratch arrays that are used again
"""
