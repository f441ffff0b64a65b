"""Answers to clients: events translated into each API's chunks, as server-sent events."""
