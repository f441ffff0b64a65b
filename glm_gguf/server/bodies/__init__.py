"""Bodies of requests: read within limits, every field honoured or refused; and the fields that APIs share."""
