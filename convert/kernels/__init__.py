"""Quantisers: our own kernels, compiled by numba, and ggml's through ctypes; both give the same bytes."""
