"""The HTTP server: APIs of OpenAI's form over one loaded model."""
