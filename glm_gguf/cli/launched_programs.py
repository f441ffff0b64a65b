"""The programs that `glm-gguf launch` starts: what each reads to find a server, and how to get it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

PROVIDER: Final = "glm-gguf"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a program finds a model."""

    url: str
    key: str
    model: str
    n_ctx: int | None = None
    """Tokens of one conversation; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program, the variables that it reads, and the arguments before the user's."""

    about: str
    install: str
    variables: Callable[[Endpoint], Mapping[str, str]]
    arguments: Callable[[Endpoint], tuple[str, ...]] = field(default=lambda endpoint: ())


def shell_lines(name: str, endpoint: Endpoint) -> list[str]:
    """Return lines of a POSIX shell: the variables, and the program with its arguments as a comment."""
    program = PROGRAMS[name]
    lines = [f"export {key}={shlex.quote(value)}" for key, value in program.variables(endpoint).items()]
    return [*lines, f"# {shlex.join([name, *program.arguments(endpoint)])}"]


def _claude(endpoint: Endpoint) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": endpoint.url,
        "ANTHROPIC_AUTH_TOKEN": endpoint.key,
        "ANTHROPIC_MODEL": endpoint.model,
        "ANTHROPIC_SMALL_FAST_MODEL": endpoint.model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def _codex(endpoint: Endpoint) -> tuple[str, ...]:
    """Return settings of Codex's config.toml as options; that file stays as it is."""
    provider = f"model_providers.{PROVIDER}"
    settings: dict[str, str | int | bool] = {
        "model": endpoint.model,
        "model_provider": PROVIDER,
        f"{provider}.name": PROVIDER,
        f"{provider}.base_url": f"{endpoint.url}/v1",
        f"{provider}.wire_api": "responses",
        f"{provider}.env_key": "GLM_GGUF_API_KEY",
        f"{provider}.stream_idle_timeout_ms": 900_000,  # a long prompt takes its time on a CPU
        "features.multi_agent": False,  # half of the prompt
    }
    if endpoint.n_ctx is not None:
        settings["model_context_window"] = endpoint.n_ctx
    return tuple(word for name, value in settings.items() for word in ("-c", f"{name}={json.dumps(value)}"))


def _opencode(endpoint: Endpoint) -> dict[str, str]:
    options = {"baseURL": f"{endpoint.url}/v1", "apiKey": endpoint.key}
    limit = {} if endpoint.n_ctx is None else {"limit": {"context": endpoint.n_ctx, "output": endpoint.n_ctx // 2}}
    models = {endpoint.model: limit}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": PROVIDER, "options": options, "models": models}
    config = {"provider": {PROVIDER: provider}, "model": f"{PROVIDER}/{endpoint.model}"}
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(config)}


PROGRAMS: Final[Mapping[str, Program]] = {
    "claude": Program("Claude Code", "npm install -g @anthropic-ai/claude-code", _claude),
    "codex": Program(
        "Codex CLI",
        "npm install -g @openai/codex",
        lambda endpoint: {"GLM_GGUF_API_KEY": endpoint.key},
        _codex,
    ),
    "aider": Program(
        "aider",
        "python -m pip install aider-install && aider-install",
        lambda endpoint: {"OPENAI_API_BASE": f"{endpoint.url}/v1", "OPENAI_API_KEY": endpoint.key},
        lambda endpoint: ("--model", f"openai/{endpoint.model}", "--no-show-model-warnings"),
    ),
    "opencode": Program("opencode", "npm install -g opencode-ai", _opencode),
    "llm": Program(
        "llm",
        "python -m pip install llm",
        lambda endpoint: {},
        lambda endpoint: ("openai", "endpoint", f"{endpoint.url}/v1", "--model", endpoint.model, "--key", endpoint.key),
    ),
    "qwen": Program(
        "Qwen Code",
        "npm install -g @qwen-code/qwen-code",
        lambda endpoint: {
            "OPENAI_BASE_URL": f"{endpoint.url}/v1",
            "OPENAI_API_KEY": endpoint.key,
            "OPENAI_MODEL": endpoint.model,
        },
        lambda endpoint: ("--auth-type", "openai"),
    ),
}
"""Name of the command → what it needs."""
