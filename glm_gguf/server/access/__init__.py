"""Who may connect and ask: connections, hosts, keys, and how long a request may take to come."""
