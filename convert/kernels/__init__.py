"""Quantisers: ggml's own, reached through ctypes."""
