"""Answers on their way to clients: events folded into each API's chunks, as server-sent events."""
