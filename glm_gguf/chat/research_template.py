"""Rumination's template with variables for its two languages, which the official revisions write out.

The first revision says 英语 for English, the later one 英文. Without the variables a template renders as it did.
"""

from __future__ import annotations

import re
from typing import Final

_LINES: Final = (("搜索关键词：", "search_language"), ("思考：", "thinking_language"))


def with_languages(source: str) -> str:
    """Return a template that reads search_language and thinking_language in place of its own words."""
    for line, name in _LINES:
        source = re.sub(rf"({line})(英语|英文|中文)(?=\s|\\n)", rf"\1{{{{ {name} | default('\2') }}}}", source)
    return source
