"""/docs, and the texts of the OpenAPI description."""
