"""Tools of MCP servers (Model Context Protocol), for a model to call: `McpServers` starts what a file names."""
