"""Everything works without the calls of Linux, and without those of Unix."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
TINY_CHECKPOINT = REPOSITORY / "glm_gguf" / "demo" / "checkpoint"
SCRIPT = """
import sys
from platforms import become
become(sys.argv[1])

import json, os
from pathlib import Path
checkpoint, directory = map(Path, sys.argv[2:])

from interruptions import Counts, Stops, write_recording
from glm_gguf import GLM
from damage import choose
from dataclasses import replace
from glm_gguf.convert import convert
options, out = choose(), directory / "out.gguf"
try:
    write_recording(checkpoint, out, options, Stops(KeyboardInterrupt(), 20))
except KeyboardInterrupt:
    pass
assert out.with_name("out.gguf.journal").exists(), os.listdir(directory)
counts = Counts()
convert(checkpoint, out, options, counts)
assert counts.found
convert(checkpoint, out, replace(options, force=True))
assert os.listdir(directory) == ["out.gguf"], os.listdir(directory)

from glm_gguf.cli.main import cli
for arguments in (["inspect", out], ["verify", out, "--against", checkpoint], ["run", out, "Hi", "--max-tokens", "3"]):
    cli.main(list(map(str, arguments)), standalone_mode=False)
cli.main(["convert", str(checkpoint), "-o", str(directory / "cli.gguf"), "--type", "Q8_0"], standalone_mode=False)
assert (directory / "cli.gguf").read_bytes() == out.read_bytes()

from server.serving import serving
from glm_gguf.server.settings import ServerSettings
with serving(ServerSettings("tiny"), lambda: GLM(out, n_ctx=512)) as served:
    import httpx
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    response = httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 200, response.text

with GLM(out, n_ctx=512) as glm:
    assert glm.chat([{"role": "user", "content": "Hi"}], max_tokens=4).usage.completion_tokens
    glm.save_session(directory / "a.session")
print("all done")
"""


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_converting_answering_serving_and_the_command_line_work(platform: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, platform, str(TINY_CHECKPOINT), str(tmp_path)]
    paths = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))
    environment = os.environ | {"PYTHONPATH": paths}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path.parent, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.endswith("all done\n"), process.stdout[-500:]


@pytest.mark.parametrize("left", ["a text file", "nothing"])
def test_a_checkout_whose_symlink_became_a_text_file_works(left: str, tmp_path: Path) -> None:
    """git on Windows, with core.symlinks=false, writes `../convert` into a file; other tools leave it out."""
    package = tmp_path / "glm_gguf"
    package.mkdir()
    for entry in (REPOSITORY / "glm_gguf").iterdir():
        if entry.name != "convert":
            (package / entry.name).symlink_to(entry)
    if left == "a text file":
        (package / "convert").write_text("../convert")
    (tmp_path / "convert").symlink_to(REPOSITORY / "convert")
    script = "import glm_gguf.convert.source.hub; print(glm_gguf.convert.__file__)"
    process = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        check=False,
    )
    assert process.stdout.strip() == str(tmp_path / "convert" / "__init__.py"), process.stderr[-1000:]
