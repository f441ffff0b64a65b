"""Chat templates: messages and tool declarations to a prompt, in the environment transformers renders them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

import jinja2
from jinja2 import meta

from glm_gguf.architectures import CHATGLM
from glm_gguf.chat.segments import ContentMask, Segment
from glm_gguf.chat.template_environment import TemplateEnvironment
from glm_gguf.errors import TemplateError, in_one_line
from glm_gguf.special_tokens import CONTROL_TOKENS
from glm_gguf.variant import Variant

BUNDLED: Mapping[Variant, str] = MappingProxyType(
    {
        Variant.CHAT: "glm-4-0414.jinja",
        Variant.CHAT_2024: "glm-4-2024.jinja",
        Variant.Z1: "glm-z1-0414.jinja",
        Variant.RUMINATION: "glm-z1-rumination-0414.jinja",
    }
)
"""The bundled templates; a base model has none."""

# Errors that a foreign template's code can raise, jinja2's own included.
_RENDER_ERRORS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    AssertionError,  # truncate's, for an end that is longer than the text
    NameError,  # jinja2 writes 1e999 as inf into its code
)
_COMPILE_ERRORS = (SyntaxError, *_RENDER_ERRORS)
"""What jinja2 and Python raise for code that they cannot compile: levels of blocks, numbers of 5,000 digits."""

MOST_SOURCE: Final = 2**18
"""Characters of a template; the longest in use have a tenth of that."""

GIVEN: Final = frozenset({"messages", "tools", "add_generation_prompt"})


class ChatTemplate:
    """A compiled chat template; TemplateError if its source is none."""

    def __init__(self, source: str, control_tokens: Sequence[str] = CONTROL_TOKENS) -> None:
        self.source = source
        self._control_tokens = tuple(control_tokens)
        self._environment = TemplateEnvironment()
        if len(source) > MOST_SOURCE:
            raise TemplateError(f"it has {len(source):,} characters, above {MOST_SOURCE:,}", where="template")
        try:
            with self._environment.metered(len(source)):  # jinja2 computes constants while it compiles
                self._template = self._environment.from_string(source)
                read = meta.find_undeclared_variables(self._environment.parse(source))
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"no Jinja template: {error.message}", where=f"template line {error.lineno}") from error
        except (RecursionError, MemoryError) as error:
            raise TemplateError("too deeply nested to be compiled", where="template") from error
        except _COMPILE_ERRORS as error:
            what = f"cannot be compiled: {in_one_line(error)}"
            raise TemplateError(what, where="template") from error
        self.variables = frozenset(read) - GIVEN
        """Variables that it reads beside those of every rendering."""
        self.reads_tools = "tools" in read
        """Whether declared functions are part of a rendering."""

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> tuple[Segment, ...]:
        """Render messages in the template's own form (see glm_gguf.chat.messages) into segments.

        `variables` holds the other variables that a template reads. Raises TemplateError for input that it refuses.
        """
        values = [messages, tools, variables]
        mask = ContentMask(self._control_tokens, values, self.source)
        hidden = {**mask.hide(dict(variables)), "messages": mask.hide(list(messages))}
        hidden["tools"] = mask.hide(list(tools)) if tools else None
        hidden["add_generation_prompt"] = add_generation_prompt
        try:
            with self._environment.metered(mask.n_characters):
                rendering = self._template.render(hidden)
        except _RENDER_ERRORS as error:
            raise TemplateError(f"cannot be rendered: {in_one_line(error)}", where="template") from error
        return mask.split(rendering)


def bundled_template(variant: Variant) -> str:
    """Read the bundled template of a variant; TemplateError for a base model."""
    name = BUNDLED.get(variant)
    if name is None:
        raise TemplateError("a base model has no chat template", fix="give it a prompt as it is, to be continued")
    return resources.files("glm_gguf.chat").joinpath(name).read_text(encoding="utf-8")


def variant_of_name(name: str, architecture: str) -> Variant:
    """Guess the variant of a file without a template from its general.name: of 2024's, GLM-4-9B is the base model."""
    lowered = name.lower()
    if architecture == CHATGLM:
        return Variant.CHAT_2024 if "chat" in lowered else Variant.BASE
    for word, variant in (("rumination", Variant.RUMINATION), ("z1", Variant.Z1), ("base", Variant.BASE)):
        if word in lowered:
            return variant
    return Variant.CHAT
