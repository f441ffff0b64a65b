"""/docs: the API described on a page."""
