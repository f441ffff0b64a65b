"""Access to the server: connections, hosts, origins, keys, paths, and the time limit of heads."""
