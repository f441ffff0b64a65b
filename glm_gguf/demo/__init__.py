"""The bundled demonstration: a tiny GLM-4 checkpoint and the tools it calls."""
