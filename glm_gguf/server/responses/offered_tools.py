"""Translates the tools of a response into functions of the model, and back.

The models know functions with JSON arguments. A custom tool takes one text; it is offered as a function with the
argument `input`; a tool of a namespace under both names joined. Tools that a service runs are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from glm_gguf.chat.custom_tool import custom_function
from glm_gguf.chat.tools import OTHER_NAMES, Declaration, misspelled_keys
from glm_gguf.errors import RequestError
from glm_gguf.server.responses.tools import (
    AllowedResponseTool,
    CustomFormat,
    CustomTool,
    DeclaredTool,
    FunctionTool,
    NamespaceTool,
    ResponseToolChoice,
)

ELSEWHERE: Final = "OpenAI's service runs tools of this type; this server does not"


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool under the client's names, and its declaration for the model."""

    name: str
    namespace: str | None
    declaration: Declaration
    custom: bool = False

    @property
    def offered_name(self) -> str:
        """The model's name for it."""
        return joined_name(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """All offered tools, and the types of those that are left out."""

    tools: tuple[OfferedTool, ...] = ()
    left_out: tuple[str, ...] = ()

    def declarations(self) -> list[Declaration]:
        """Return the declarations for the model."""
        return [tool.declaration for tool in self.tools]

    def offered_as(self, name: str) -> OfferedTool | None:
        """Return the tool with a model's name; None without one."""
        return next((tool for tool in self.tools if tool.offered_name == name), None)

    def joined(self, others: OfferedTools) -> OfferedTools:
        """Add tools with new names."""
        known = {tool.offered_name for tool in self.tools}
        added = [tool for tool in others.tools if tool.offered_name not in known]
        return OfferedTools((*self.tools, *added), (*self.left_out, *others.left_out))

    def allowed(self, choice: ResponseToolChoice) -> OfferedTools:
        """Return the tools of `allowed_tools`; RequestError for an undeclared one."""
        named = [tool for tool in choice.tools or () if tool.name or tool.type == "function"]
        chosen = [self._named(tool, "tool_choice.tools").offered_name for tool in named]
        return replace(self, tools=tuple(tool for tool in self.tools if tool.offered_name in chosen))

    def choice(self, choice: str | ResponseToolChoice) -> str | dict[str, Any]:
        """Return a choice in the form of chat completions; RequestError for an impossible one."""
        word = choice.mode if isinstance(choice, ResponseToolChoice) and choice.type == "allowed_tools" else choice
        if isinstance(word, str):
            if word == "required" and not self.tools and self.left_out:
                raise RequestError(ELSEWHERE, field="tool_choice", fix="declare a function, or leave the choice out")
            return word
        if word.type not in ("function", "custom"):
            raise RequestError(f"cannot choose {word.name or word.type!r}", field="tool_choice", fix="name a function")
        return {"type": "function", "function": {"name": self._named(word, "tool_choice").offered_name}}

    def _named(self, wanted: AllowedResponseTool | ResponseToolChoice, field: str) -> OfferedTool:
        for tool in self.tools:
            own = tool.name == wanted.name and wanted.namespace in (None, tool.namespace)
            if own or tool.offered_name == wanted.name:
                return tool
        raise RequestError(f"no function {wanted.name!r} is declared", field=field, fix="name one of `tools`")


def offered_tools(tools: Sequence[DeclaredTool], field: str = "tools") -> OfferedTools:
    """Offer tools; RequestError for one without a name."""
    offered, left_out = [], []
    for index, tool in enumerate(tools):
        made = list(_offered(tool, f"{field}[{index}]"))
        offered += made
        if not made and not isinstance(tool, NamespaceTool):
            left_out.append(tool.type)
        elif isinstance(tool, NamespaceTool):
            left_out += [one.type for one in tool.tools or () if not isinstance(one, FunctionTool | CustomTool)]
    return OfferedTools(tuple(offered), tuple(left_out))


def joined_name(namespace: str | None, name: str) -> str:
    """Return the model's name for a function of a namespace."""
    if not namespace:
        return name
    return f"{namespace}{name}" if namespace.endswith("_") else f"{namespace}__{name}"


def _offered(tool: DeclaredTool, where: str, namespace: str | None = None) -> Iterator[OfferedTool]:
    """Offer a tool, or those of a namespace; nothing for a tool of OpenAI's service."""
    match tool:
        case FunctionTool():
            misspelled = (key for key, _ in misspelled_keys(tool.model_extra or {}))
            told = {"description", "parameters", "strict", *OTHER_NAMES, *misspelled}
            function = tool.model_dump(include=told, exclude_none=True)
            yield _tool(tool.name, namespace, function, where)
        case CustomTool():
            form = tool.format or CustomFormat()
            function = custom_function(tool.description, form.syntax, form.definition)
            yield replace(_tool(tool.name, namespace, function, where), custom=True)
        case NamespaceTool() if namespace is None:
            if not tool.name:
                raise RequestError("the namespace has no name", field=f"{where}.name")
            for index, one in enumerate(tool.tools or ()):
                yield from _offered(one, f"{where}.tools[{index}]", tool.name)


def _tool(name: str | None, namespace: str | None, function: Mapping[str, Any], where: str) -> OfferedTool:
    if not name:
        raise RequestError("the function has no name", field=f"{where}.name", fix="give `name` beside `type`")
    declaration = {"type": "function", "function": {"name": joined_name(namespace, name), **function}}
    return OfferedTool(name, namespace, declaration)
