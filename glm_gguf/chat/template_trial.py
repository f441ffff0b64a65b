"""A chat template tried on short conversations, so that a fault shows before anybody talks to the model."""

from __future__ import annotations

from typing import Final

from glm_gguf.chat.segments import joined_text
from glm_gguf.chat.template import ChatTemplate
from glm_gguf.errors import RequestError, TemplateError

_QUESTION: Final = "A question of the trial"
_ASKED: Final = {"role": "user", "content": _QUESTION}
_GREETINGS: Final = ({"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello"})
_CONVERSATIONS: Final = ((_ASKED,), (*_GREETINGS, _ASKED))


def template_fault(source: str, *, of_chats: bool = True) -> str | None:
    """Say why a template cannot be compiled or, if it is one `of_chats`, cannot show a conversation; else None.

    Refusing a system message or tools is a template's right, and is not tried.
    """
    try:
        template = ChatTemplate(source)
        for messages in _CONVERSATIONS if of_chats else ():
            if _QUESTION not in joined_text(template.render(messages)):
                return "it leaves out what the user says"
    except (TemplateError, RequestError) as error:
        return f"{error.where}: {error.what}" if error.where else error.what
    return None
