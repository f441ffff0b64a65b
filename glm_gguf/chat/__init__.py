"""GLM's language: templates, messages, tool calls, events."""
