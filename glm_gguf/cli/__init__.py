"""The glm-gguf command: one file a subcommand."""
