"""GGUF files read safely: every size and offset is checked before use."""
