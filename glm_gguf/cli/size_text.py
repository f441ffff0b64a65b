"""Sizes for reading."""


def size_text(n_bytes: float) -> str:
    """Return bytes as text, in GB of 10^9, below one as MB."""
    return f"{n_bytes / 1e9:,.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.1f} MB"
