"""Bodies of requests: read within bounds, every field honoured or refused, in the forms that APIs share."""
