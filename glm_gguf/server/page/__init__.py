"""The page to chat in: static files, and the routes that hand them out."""
