"""Models on this machine by name: fetched into one directory, kept in one index, found again."""
