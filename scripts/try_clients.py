"""Run programs of `glm-gguf launch` against a server with a model, as far as they are installed.

    scripts/try_clients.py MODEL.gguf [--yarn 8]
    scripts/try_clients.py MODEL.gguf --calls

Each asks one question. With --calls it has a tool, `weather` of an MCP server or a function, and its prompt is as short
as its settings allow: a tiny model that `scripts/train_tiny.py --agents` has trained calls it, and tells the result.

Told are its exit code, how often the tool was called, whether its result is told, the end of what it wrote, and
the paths and statuses of its requests. Homes and working directories are temporary, and no program is told of any host
but this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from glm_gguf.demo.tools import get_weather

QUESTION = "What is 3 plus 4?"
WEATHER = "What is the weather in Paris?"
PROMPT = "You are a helpful assistant."
SERVER = Path(__file__).resolve().parent.parent / "tests" / "cli" / "weather_server.py"
FUNCTIONS = """
import os
from glm_gguf.demo import tools

def get_weather(city: str) -> dict:
    "Weather of a city"
    with open(os.environ["CALLS"], "a") as file:
        file.write(city + "\\n")
    return tools.get_weather(city)
"""
CODEX_LEFT_OUT = ["unified_exec", "shell_tool", "goals", "skills", "apps", "multi_agent"]
"""Features of Codex that make its prompt long."""
QWEN_LEFT_OUT = ["agent", "send_message", "skill", "task_stop", "tool_search", "ask_user_question", "exit_plan_mode"]


@dataclass(frozen=True)
class Session:
    """What a program is started with, behind its name."""

    words: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    stdin: str | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--yarn", default="1", help="stretch a small model's context")
    parser.add_argument("--max-tokens", default="200", help="of each answer; Codex reports one that is cut as an error")
    parser.add_argument("--calls", action="store_true", help="ask for what only a tool knows")
    parser.add_argument("--question", default=WEATHER, help="what is asked with --calls: the weather of a city")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        return try_all(asked, Path(directory).resolve())


def try_all(asked: argparse.Namespace, directory: Path) -> int:
    command = [sys.executable, "-m", "glm_gguf", "serve", asked.model, "--port", "0", "--alias", "glm"]
    n_ctx = "4096" if asked.calls else "32768"
    sizes = ["--n-ctx", n_ctx, "--yarn", asked.yarn, "--max-tokens", asked.max_tokens, "--temperature", "0"]
    log = directory / "server.log"
    key = {**os.environ, "GLM_GGUF_API_KEY": ""}
    with log.open("w") as out, subprocess.Popen([*command, *sizes], stderr=out, stdout=out, env=key) as server:
        try:
            url = address(log, server)
            sessions = calling(directory, asked.question) if asked.calls else asking()
            failed = [name for name, session in sessions if not tried(name, session, url, directory)]
        finally:
            server.terminate()
    return 1 if failed else 0


def address(log: Path, server: subprocess.Popen[bytes]) -> str:
    """Wait until the server says where it is, and has its model."""
    while server.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found is not None:
            try:
                urllib.request.urlopen(f"{found[0]}/v1/models").close()
                return found[0]
            except OSError:
                pass
        subprocess.run(["sleep", "0.3"], check=True)
    raise SystemExit(log.read_text())


def asking() -> Iterator[tuple[str, Session]]:
    """Yield sessions with a question and no tool that is needed."""
    quiet = {"DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1"}
    flags = ["--yes-always", "--no-check-update", "--no-git", "--no-pretty"]
    codex = ["exec", "--skip-git-repo-check", "-c", 'approval_policy="never"', "-c", 'sandbox_mode="read-only"']
    yield "codex", Session([*codex, QUESTION])
    yield "claude", Session(["-p", QUESTION, "--tools", "Read", "--system-prompt", "You are brief."], quiet)
    yield "aider", Session([*flags, "--message", QUESTION])
    yield "llm", Session([QUESTION])


def calling(directory: Path, question: str) -> Iterator[tuple[str, Session]]:
    """Yield sessions that need a tool; the files that they read are written into the directory."""
    words, path = [str(SERVER), str(calls_of(directory))], os.pathsep.join(filter(None, sys.path))
    entry = {"command": sys.executable, "args": words, "env": {"PYTHONPATH": path}}
    servers = {"mcpServers": {"get": entry}}
    write(directory / "mcp.json", json.dumps(servers))
    yield "codex", codex_session(entry, directory, question)
    allowed = ["--strict-mcp-config", "--allowedTools", "mcp__get__weather"]
    prompt = ["--tools", "", "--system-prompt", PROMPT]
    yield "claude", Session(["-p", question, *prompt, "--mcp-config", "mcp.json", *allowed])
    tools = {"core": ["none"], "exclude": QWEN_LEFT_OUT}
    settings = {"memory": {"enableManagedAutoMemory": False}, "tools": tools}
    trusted = {"mcpServers": {"get": {**entry, "trust": True}}}
    write(directory / ".qwen" / "settings.json", json.dumps({**settings, **trusted}))
    yield "qwen", Session(["--system-prompt", PROMPT, "--approval-mode", "yolo", question])
    own = {"type": "local", "command": [sys.executable, *words], "environment": entry["env"]}
    agent = {"build": {"prompt": PROMPT}}
    opencode = {"mcp": {"get": own}, "tools": {"*": False, "get_*": True}, "agent": agent}
    write(directory / "opencode.json", json.dumps(opencode))
    alone = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    yield "opencode", Session(["run"], alone, question)
    write(directory / "functions.py", FUNCTIONS)
    yield "llm", Session(["--functions", "functions.py", question], {"CALLS": str(calls_of(directory))})


def codex_session(entry: dict[str, object], directory: Path, question: str) -> Session:
    write(directory / "prompt.md", PROMPT)
    given = {
        "model_instructions_file": "prompt.md",
        "include_permissions_instructions": False,
        "include_environment_context": False,
        "approval_policy": "never",
        "sandbox_mode": "read-only",
        "mcp_servers.get.command": entry["command"],
        "mcp_servers.get.args": entry["args"],
        **{f"features.{name}": False for name in CODEX_LEFT_OUT},
    }
    words = [word for name, value in given.items() for word in ("-c", f"{name}={json.dumps(value)}")]
    path = os.pathsep.join(filter(None, sys.path))
    words += ["-c", f"mcp_servers.get.env={{PYTHONPATH={json.dumps(path)}}}"]
    return Session(["exec", "--skip-git-repo-check", *words, question], {"CODEX_HOME": str(directory)})


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def calls_of(directory: Path) -> Path:
    """The file with a line for each call of the tool."""
    return directory / "calls.txt"


def tried(name: str, session: Session, url: str, directory: Path) -> bool:
    """Run a program; True where it ended well, or is not installed."""
    if shutil.which(name) is None:
        print(f"{name}: not installed")
        return True
    before = requests(url)
    calls_of(directory).write_text("")
    home = {**os.environ, "HOME": str(directory), "PWD": str(directory), **session.variables}
    port = url.rpartition(":")[2]
    ended = subprocess.run(
        [sys.executable, "-m", "glm_gguf", "launch", "--port", port, name, *session.words],
        cwd=directory,
        env=home,
        input=session.stdin or "",
        capture_output=True,
        text=True,
        timeout=900,
    )
    asked = {request: count - before.get(request, 0) for request, count in requests(url).items()}
    told = ", ".join(f"{request} {count:g}" for request, count in asked.items() if count and "metrics" not in request)
    cities = calls_of(directory).read_text().splitlines()
    results = [get_weather(city) for city in cities]
    known = any(f"{result['weather']}, {result['temperature']}" in ended.stdout for result in results)
    print(f"{name}: exit {ended.returncode}; {len(cities)} calls{', whose result it tells' if known else ''}; {told}")
    print(f"    {(ended.stdout or ended.stderr).strip()[-200:]!r}")
    return ended.returncode == 0


def requests(url: str) -> dict[str, float]:
    """Requests so far, by path and status."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        lines = re.findall(r'requests_total\{path="([^"]*)",status="(\d+)"\} (\S+)', response.read().decode())
    return {f"{path} {status}": float(count) for path, status, count in lines}


if __name__ == "__main__":
    raise SystemExit(main())
