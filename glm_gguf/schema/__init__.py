"""JSON Schema: normal form, the grammar that enforces it, and the check of what a grammar cannot express."""
