"""Questions that the server researches for its clients: `serve --research-sources`."""
