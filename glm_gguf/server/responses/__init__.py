"""OpenAI's Responses API: `/v1/responses`, streamed and whole; nothing is stored."""
