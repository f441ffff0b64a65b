"""Findings about a GLM-4's chat template: what the model or other runtimes make of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from glm_gguf.architectures import CHATGLM, MODELS
from glm_gguf.gguf_file.contents import TEMPLATE_KEY, architecture, is_edge
from glm_gguf.gguf_file.finding import CONVERT_AGAIN, Finding, KeyChange, OfficialTemplate, advice, problem
from glm_gguf.gguf_file.values import Metadata, Text, text
from glm_gguf.special_tokens import GMASK, SOP
from glm_gguf.variant import Variant, detect_variant, is_name_alone, takes_tools_from_messages

OFFICIAL_TEMPLATE = (
    f"glm-gguf mend puts the official template in its place; or {CONVERT_AGAIN}",
    (KeyChange(TEMPLATE_KEY, OfficialTemplate()),),
)
OTHER_MARKS = ("<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "[INST]", "### Instruction")
"""What begins a turn in templates on which models of any family are trained: ChatML's and others'."""
NEWLINE = re.compile(r"(<\|assistant\|>)(\\n|\r?\n(?!\s*\{[%{]-))")
"""A newline behind the assistant's token, as text or escaped in a Jinja string.

One of the template's own is dropped where the next tag strips it.
"""


def template_findings(metadata: Metadata) -> Iterator[Finding]:
    """All findings about the chat template of a model."""
    template, found = text(metadata, TEMPLATE_KEY), architecture(metadata) or ""
    if not template:
        yield advice(
            "there is no chat template",
            "right for the base model, which only continues text; any other model has lost its template",
            "if this is a chat model, convert it again with glm-gguf convert",
        )
        return
    if found == CHATGLM and is_name_alone(template):
        yield advice(
            f"the chat template is a name alone: {template[:40]!r}",
            "llama.cpp's template of that name opens answers with a newline, which forbids calls; glm-gguf has its own",
            "with another runtime, give it the official template, or convert the checkpoint again",
        )
        return
    if GMASK not in template and (other := next((mark for mark in OTHER_MARKS if mark in template), None)):
        yield problem(
            f"the chat template marks turns with {other}, not as {MODELS[found]} does",
            "it is right only for a model that was trained on it, whose calls glm-gguf does not read",
            f"leave it to such a model; else {CONVERT_AGAIN}, with the official template beside the weights",
        )
    elif not is_edge(metadata) and (GMASK not in template or SOP not in template):
        yield problem(
            f"the chat template does not begin the prompt with {GMASK}{SOP}",
            f"it is not {MODELS[found]}'s: every prompt begins otherwise than in training",
            *OFFICIAL_TEMPLATE,
        )
    if takes_tools_from_messages(template):
        yield _tools_of_messages(found)
    if detect_variant(template, found) is not Variant.Z1 and _ends_with_newline(template):
        yield problem(
            "the chat template's generation prompt has a newline after <|assistant|>",
            "the model writes that newline itself when it answers and leaves it out when it calls a tool, "
            "so tool calls become impossible",
            *((CONVERT_AGAIN,) if found == CHATGLM else _without_newline(template)),
        )


def _tools_of_messages(found: str) -> Finding:
    """Return the finding about a template that looks for tools in messages, as the official one of 2024 does."""
    if found == CHATGLM:
        return advice(
            "the chat template takes tools from the messages, as the official one does",
            "generic runtimes pass tools beside the messages, and the model never sees them; glm-gguf shows them",
            "with another runtime, give it a template that reads tools beside the messages",
        )
    return problem(
        "the chat template is ChatGLM's, which takes tools from the messages",
        "generic runtimes pass tools beside the messages, and the model never sees them",
        *OFFICIAL_TEMPLATE,
    )


def _ends_with_newline(template: str) -> bool:
    """Whether the generation prompt goes on with a newline."""
    _, found, generation_prompt = template.rpartition("add_generation_prompt")
    return bool(found) and NEWLINE.search(generation_prompt) is not None


def _without_newline(template: str) -> tuple[str, tuple[KeyChange, ...]]:
    """Say that glm-gguf mend removes the newline, and keeps the rest of the template."""
    before, found, generation_prompt = template.rpartition("add_generation_prompt")
    changed = before + found + NEWLINE.sub(r"\1", generation_prompt)
    return f"glm-gguf mend removes it; or {CONVERT_AGAIN}", (KeyChange(TEMPLATE_KEY, Text(changed)),)
