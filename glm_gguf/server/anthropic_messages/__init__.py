"""Anthropic's Messages API: `/v1/messages`, streamed and whole, and `/v1/messages/count_tokens`."""
