"""`serve --batch-dir`: a server that is killed goes on with its batches."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from batch_runs import chat_line, write_lines
from click.testing import CliRunner
from waiting import until

from glm_gguf.cli.main import cli


@contextmanager
def serving(model: Path, directory: Path) -> Iterator[openai.OpenAI]:
    """A server in a process of its own, killed (-9) at the end."""
    options = ["--port", "0", "--threads", "1", "--n-gpu-layers", "0", "--batch-dir", str(directory)]
    command = [sys.executable, "-m", "glm_gguf", "serve", str(model), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as running:
        try:
            assert running.stderr is not None
            url = running.stderr.readline().split(" at ")[1].split("/ ")[0]
            until(lambda: "KV cache" in (running.stderr.readline() if running.stderr else ""))
            with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
                yield client
        finally:
            running.kill()


def test_a_killed_server_goes_on_with_its_batch(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    lines = [chat_line(f"line-{n}", f"Hi {n}", max_tokens=20) for n in range(60)]
    source, kept = write_lines(tmp_path / "in.jsonl", lines), tmp_path / "kept"
    with serving(tiny_gguf("Q8_0"), kept) as client:
        file = client.files.create(file=source, purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        part = kept / "work" / f"{batch.id}.part"
        until(lambda: part.exists() and part.stat().st_size > 2000)
    before = part.read_text().split("\n")[:-1]
    assert 0 < len(before) < 60
    with serving(tiny_gguf("Q8_0"), kept) as client:
        until(lambda: client.batches.retrieve(batch.id).status == "completed")
        output = client.batches.retrieve(batch.id).output_file_id
        assert output is not None
        results = client.files.content(output).text.splitlines()
    assert [json.loads(line)["custom_id"] for line in results] == [line["custom_id"] for line in lines]
    assert set(before) <= set(results)


@pytest.mark.parametrize(
    ("option", "fix"), [("--batch-limit", "--batch-dir"), ("--session-limit", "--session-dir")], ids=lambda one: one
)
def test_a_limit_of_nothing_is_refused(option: str, fix: str, tiny_gguf: Callable[[str], Path]) -> None:
    result = CliRunner().invoke(cli, ["serve", str(tiny_gguf("Q8_0")), option, "1G"])
    assert f"{option}: no " in str(result.exception)
    assert f"give {fix} too" in str(result.exception)
