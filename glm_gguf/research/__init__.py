"""Research: corpora that a model searches, and the loops in which it reads them and writes a report."""
