"""Checkpoints straight from a hub: small files fetched, shards streamed once and checked as they pass."""
