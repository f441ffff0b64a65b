"""What a user has set once for all commands: a TOML file, and variables of the environment over it."""
