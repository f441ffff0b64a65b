"""Lines that clients put into a prompt for the service they know, not for the model, and that change every time.

A prompt is computed again from the first token that differs, so such a line would cost the whole conversation.
"""

from __future__ import annotations

import re
from typing import Final

BILLING: Final = re.compile(r"x-anthropic-billing-header:(?:[ \t]*[^;\s]+;)+(?:[ \t]*[\w.-]+=[^;\s]*)?[ \t]*\n*")
"""Claude Code's, at the start of its system prompt: `x-anthropic-billing-header: cc_version=…; cch=…;`. The value of
`cch` is a hash of the request."""


def without_transport_line(system: str) -> str:
    """Return a system prompt without the line of transport at its start."""
    found = BILLING.match(system)
    return system if found is None else system[found.end() :]
