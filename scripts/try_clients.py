"""Run coding agents against a server with a model: Codex, Claude Code, aider, as far as they are installed.

    scripts/try_clients.py MODEL.gguf [--yarn 8]

Each asks one question. Told are its exit code, the end of what it wrote, and the paths and statuses of its requests.
Homes and working directories are temporary, and no agent is told of any host but this machine's.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

QUESTION = "What is 3 plus 4?"
CODEX = """
model = "glm"
model_provider = "local"
approval_policy = "never"
sandbox_mode = "read-only"
model_context_window = 32768

[features]
multi_agent = false

[model_providers.local]
name = "glm-gguf"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "GLM_KEY"
stream_idle_timeout_ms = 900000
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--yarn", default="1", help="stretch a small model's context")
    parser.add_argument("--max-tokens", default="200", help="of each answer; Codex reports one that is cut as an error")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        return try_all(asked, Path(directory))


def try_all(asked: argparse.Namespace, directory: Path) -> int:
    command = [sys.executable, "-m", "glm_gguf", "serve", asked.model, "--port", "0", "--alias", "glm"]
    sizes = ["--n-ctx", "32768", "--yarn", asked.yarn, "--max-tokens", asked.max_tokens]
    log = directory / "server.log"
    key = {**os.environ, "GLM_GGUF_API_KEY": ""}
    with log.open("w") as out, subprocess.Popen([*command, *sizes], stderr=out, stdout=out, env=key) as server:
        try:
            url = address(log, server)
            failed = [name for name, made in agents(url, directory).items() if not tried(name, *made, url, directory)]
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


def agents(url: str, directory: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Command and environment of each agent."""
    (directory / "config.toml").write_text(CODEX.format(url=url))
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1"}
    claude = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": "none", "ANTHROPIC_MODEL": "glm", **quiet}
    openai = {"OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": "none"}
    flags = ["--no-show-model-warnings", "--yes-always", "--no-check-update", "--no-git", "--no-pretty"]
    return {
        "codex": (
            ["codex", "exec", "--skip-git-repo-check", QUESTION],
            {"CODEX_HOME": str(directory), "GLM_KEY": "none"},
        ),
        "claude": (["claude", "-p", QUESTION, "--tools", "Read", "--system-prompt", "You are brief."], claude),
        "aider": (["aider", "--model", "openai/glm", *flags, "--message", QUESTION], openai),
    }


def tried(name: str, command: list[str], environment: dict[str, str], url: str, directory: Path) -> bool:
    """Run an agent; True where it ended well, or is not installed."""
    if shutil.which(command[0]) is None:
        print(f"{name}: not installed")
        return True
    before = requests(url)
    home = {**os.environ, "HOME": str(directory), **environment}
    ended = subprocess.run(
        command, cwd=directory, env=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
    )
    asked = {request: count - before.get(request, 0) for request, count in requests(url).items()}
    told = ", ".join(f"{request} {count:g}" for request, count in asked.items() if count and "metrics" not in request)
    print(f"{name}: exit {ended.returncode}; {told}\n    {(ended.stdout or ended.stderr).strip()[-200:]!r}")
    return ended.returncode == 0


def requests(url: str) -> dict[str, float]:
    """Requests so far, by path and status."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        lines = re.findall(r'requests_total\{path="([^"]*)",status="(\d+)"\} (\S+)', response.read().decode())
    return {f"{path} {status}": float(count) for path, status, count in lines}


if __name__ == "__main__":
    raise SystemExit(main())
