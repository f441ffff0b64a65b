"""Prepare an answer (prompt, grammar, sampling) and read it back (parser, stop texts, streams)."""
