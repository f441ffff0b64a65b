"""A conversation made ready to be answered, and its answer read back: prompt, constraint, stop texts, streams."""
