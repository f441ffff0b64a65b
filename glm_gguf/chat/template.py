"""Chat templates: messages and tool declarations to a prompt, in the environment transformers renders them in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from types import MappingProxyType
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from glm_gguf.chat.segments import ContentMask, Segment
from glm_gguf.errors import TemplateError
from glm_gguf.special_tokens import CONTROL_TOKENS
from glm_gguf.variant import Variant

BUNDLED: Mapping[Variant, str] = MappingProxyType(
    {
        Variant.CHAT: "glm-4-0414.jinja",
        Variant.Z1: "glm-z1-0414.jinja",
        Variant.RUMINATION: "glm-z1-rumination-0414.jinja",
    }
)
"""The templates that come with this package; a base model has none."""

# What code of a foreign template can raise, besides jinja2's own errors.
_RENDER_ERRORS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}`, which marks text for training: the text itself."""

    tags = {"generation"}  # noqa: RUF012 - the name and the type are jinja2's

    def parse(self, parser: Parser) -> Node | list[Node]:
        """Return what stands between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """A compiled chat template; TemplateError where its source is no template."""

    def __init__(self, source: str, control_tokens: Sequence[str] = CONTROL_TOKENS) -> None:
        self.source = source
        self._control_tokens = tuple(control_tokens)
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"no Jinja template: {error.message}", where=f"template line {error.lineno}") from error
        except (RecursionError, MemoryError) as error:
            raise TemplateError("too deeply nested to be compiled", where="template") from error

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> tuple[Segment, ...]:
        """Render messages in the template's own form (see glm_gguf.chat.messages) into segments.

        A template that names other variables finds them in `variables`. Raises TemplateError for what it refuses.
        """
        values = [messages, tools, variables]
        mask = ContentMask(self._control_tokens, values, self.source)
        hidden = {**mask.hide(dict(variables)), "messages": mask.hide(list(messages))}
        hidden["tools"] = mask.hide(list(tools)) if tools else None
        hidden["add_generation_prompt"] = add_generation_prompt
        try:
            rendering = self._template.render(hidden)
        except _RENDER_ERRORS as error:
            raise TemplateError(f"cannot be rendered: {type(error).__name__}: {error}", where="template") from error
        return mask.split(rendering)


def bundled_template(variant: Variant) -> str:
    """Read the template that comes with this package for a variant; TemplateError for a base model."""
    name = BUNDLED.get(variant)
    if name is None:
        raise TemplateError("a base model has no chat template", fix="give it a prompt as it is, to be continued")
    return resources.files("glm_gguf.chat").joinpath(name).read_text(encoding="utf-8")


def variant_of_name(name: str) -> Variant:
    """Guess the variant of a file that carries no template from its general.name."""
    lowered = name.lower()
    for word, variant in (("rumination", Variant.RUMINATION), ("z1", Variant.Z1), ("base", Variant.BASE)):
        if word in lowered:
            return variant
    return Variant.CHAT


def _environment() -> ImmutableSandboxedEnvironment:
    """Return what transformers' utils/chat_template_utils.py renders with."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationTag]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON without jinja2's HTML escapes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    """Let a template refuse its input."""
    raise jinja2.TemplateError(message)


def _now(format_string: str) -> str:
    """Return the local time in strftime's format."""
    return datetime.now().strftime(format_string)
