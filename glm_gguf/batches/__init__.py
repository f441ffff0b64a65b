"""OpenAI's batches: a file of requests in, a file of their answers out, through every interruption."""
