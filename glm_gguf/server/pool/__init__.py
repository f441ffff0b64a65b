"""The models of a server: which there are, which are loaded, and who waits for which."""
