"""`batch`: every line is answered once, whatever ends the process; what is wrong is told by line."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from batch_runs import (
    Line,
    chat_line,
    computed_tokens,
    distinct_tokens,
    line_to,
    mixed_lines,
    read_lines,
    shared_lines,
    start_batch,
    write_lines,
    wrong_output,
)
from click.testing import CliRunner, Result
from openai.types.chat import ChatCompletion
from openai.types.create_embedding_response import CreateEmbeddingResponse
from waiting import until

from glm_gguf import GLM
from glm_gguf.cli.main import cli

SIDES = ("part", "journal", "index")


@pytest.fixture
def batch(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> Callable[..., Result]:
    def invoke(lines: list[Line] | str | bytes, *arguments: str) -> Result:
        source = tmp_path / "in.jsonl"
        if isinstance(lines, str | bytes):
            source.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
        else:
            write_lines(source, lines)
        given = [str(tiny_gguf("Q8_0")), str(source), str(tmp_path / "out.jsonl"), "--threads", "1", *arguments]
        return CliRunner().invoke(cli, ["batch", *given])

    return invoke


def test_all_apis_are_answered_in_the_order_of_the_input(batch: Callable[..., Result], tmp_path: Path) -> None:
    lines = mixed_lines(28)
    result = batch(lines)
    assert (result.exit_code, result.exception) == (1, None) or isinstance(result.exception, SystemExit)
    results = read_lines(tmp_path / "out.jsonl")
    assert wrong_output(lines, results) is None
    assert "4 of 28 requests were refused" in result.stderr
    assert not [side for side in SIDES if (tmp_path / f"out.jsonl.{side}").exists()]
    bodies = {one["custom_id"].partition("-")[0]: one["response"]["body"] for one in results}
    assert ChatCompletion.model_validate(bodies["chat"]).choices[0].message.content is not None
    assert len(ChatCompletion.model_validate(bodies["n"]).choices) == 2
    assert len(CreateEmbeddingResponse.model_validate(bodies["vector"]).data[0].embedding) == 256
    assert bodies["text"]["object"] == "text_completion"
    assert bodies["response"]["object"] == "response"
    assert bodies["wrong"]["error"]["param"] == "temperature"


def test_results_as_they_finish_are_the_same_lines(batch: Callable[..., Result], tmp_path: Path) -> None:
    lines = [chat_line(f"long-{n}", "Tell me a story.", max_tokens=40 if n < 4 else 1) for n in range(20)]
    assert batch(lines, "--order", "finished").exit_code == 0
    results = read_lines(tmp_path / "out.jsonl")
    assert {one["custom_id"] for one in results} == {line["custom_id"] for line in lines}
    assert len(results) == len(lines)


def test_a_killed_batch_goes_on_and_loses_no_line(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    lines, out = mixed_lines(140), tmp_path / "out.jsonl"
    source, part = write_lines(tmp_path / "in.jsonl", lines), tmp_path / "out.jsonl.part"
    for least in (1, 10_000, 30_000):
        process = start_batch(tiny_gguf("Q8_0"), source, out)
        until(partial(_has, part, least))
        process.kill()
        process.communicate()
        with part.open("ab") as file:
            file.write(b'{"id": "batch_req_1", "custom_id": "chat-0", "resp')  # as a full disk would leave it
    kept = len(part.read_bytes().splitlines()) - 1
    process = start_batch(tiny_gguf("Q8_0"), source, out)
    told = process.communicate()[1]
    assert f"{kept} of 140 requests are answered already" in told
    assert wrong_output(lines, read_lines(out)) is None


@pytest.mark.parametrize("forged", [b'{"custom_id": 5, "response": null}\n', b'{"custom_id": "a", "response": 1}\n'])
def test_what_is_no_result_is_answered(forged: bytes, tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    source, out = write_lines(tmp_path / "in.jsonl", [chat_line("a", "Hello")]), tmp_path / "out.jsonl"
    process = start_batch(tiny_gguf("Q8_0"), source, out)
    until(partial(_has, tmp_path / "out.jsonl.journal", 1))
    process.kill()
    process.communicate()
    (tmp_path / "out.jsonl.part").write_bytes(forged)
    process = start_batch(tiny_gguf("Q8_0"), source, out)
    process.communicate()
    assert process.returncode == 0
    assert [one["custom_id"] for one in read_lines(out)] == ["a"]


def _has(part: Path, n_bytes: int) -> bool:
    return part.exists() and part.stat().st_size >= n_bytes


def test_a_shared_prompt_is_computed_once(
    batch: Callable[..., Result], tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    lines = shared_lines(60, words=300)
    assert batch(lines).exit_code == 0
    with GLM(tiny_gguf("Q8_0"), threads=1) as glm:
        distinct = distinct_tokens(glm, lines)
    assert computed_tokens(read_lines(tmp_path / "out.jsonl")) <= 1.02 * distinct


GOOD = json.dumps(chat_line("a", "Hello"))
WRONG = {
    "an unknown field": (json.dumps({**chat_line("b", "x"), "priority": 1}), "line 2: priority: a line has custom_id"),
    "another method": (json.dumps({**chat_line("b", "x"), "method": "GET"}), "line 2: method: only POST"),
    "another url": (json.dumps(line_to("/v1/models", "b", {})), "line 2: url: give /v1/chat/completions or"),
    "half a line": (GOOD[:30], "line 2: This is not JSON"),
    "no id": (json.dumps({"method": "POST", "url": "/v1/responses", "body": {}}), "line 2: custom_id: it is missing"),
    "the id of another line": (GOOD, "line 2: custom_id: line 1 has 'a' too"),
    "no number": (
        GOOD.replace('"a"', '"b"').replace('"body": {', '"body": {"seed": NaN, '),
        "line 2: This is not JSON: NaN",
    ),
    "two ids": (f'{{"custom_id": "c", {GOOD[1:]}', "line 2: This is not JSON: the key 'custom_id' occurs twice"),
    "UTF-16": (GOOD.encode("utf-16-le"), "line 2: This is not JSON"),
    "half of a pair in UTF-8": (GOOD.encode().replace(b"Hello", b"\xed\xa0\x80"), "line 2: This is not UTF-8: byte "),
    "a tower": ("[" * 100_000, "line 2: Its lists and objects are nested too deeply"),
    "a stream": (json.dumps(chat_line("b", "x", stream=True)), "line 2: body.stream: a batch has whole answers"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_line_is_told_before_anything_is_answered(
    batch: Callable[..., Result], tmp_path: Path, name: str
) -> None:
    line, told = WRONG[name]
    result = batch(GOOD.encode() + b"\n" + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    assert result.exit_code == 1
    assert told in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_file_as_windows_writes_it_is_answered(batch: Callable[..., Result], tmp_path: Path) -> None:
    lines = [json.dumps(chat_line(name, "Hello")) for name in ("å", "b\u2028c", "d" * 512)]
    result = batch(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode())
    assert result.exit_code == 0, result.output
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().split(b"\n")[:-1]]
    assert [one["custom_id"] for one in results] == ["å", "b\u2028c", "d" * 512]


def test_an_empty_input_is_refused(batch: Callable[..., Result]) -> None:
    assert "The file has no request" in str(batch("\n\n").exception)


def test_results_of_another_input_are_never_mixed_in(batch: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.part").write_text('{"custom_id": "a", "response": null, "error": null}\n')
    (tmp_path / "out.jsonl.journal").write_text('{"input": "of another"}')
    result = batch(f"{GOOD}\n")
    assert result.exit_code == 1
    assert "the results there were made with another input and other model and other options" in str(result.exception)
    assert (tmp_path / "out.jsonl.part").stat().st_size


def test_an_output_that_exists_is_kept(batch: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("mine")
    assert "the output exists" in str(batch(f"{GOOD}\n").exception)
    assert (tmp_path / "out.jsonl").read_text() == "mine"


@pytest.mark.parametrize("ending", SIDES)
@pytest.mark.parametrize("read", ["input", "model", "link to the input"])
def test_a_file_that_the_batch_reads_is_never_written(
    tiny_gguf: Callable[[str], Path], tmp_path: Path, ending: str, read: str
) -> None:
    model, source, side = tmp_path / "model.gguf", tmp_path / "in.jsonl", tmp_path / f"out.{ending}"
    model.symlink_to(tiny_gguf("Q8_0"))
    source.write_text(f"{GOOD}\n")
    if read == "input":
        source = source.rename(side)
    elif read == "model":
        model = model.rename(side)
    else:
        side.symlink_to(source)
    before = source.read_bytes(), model.read_bytes()
    result = CliRunner().invoke(cli, ["batch", str(model), str(source), str(tmp_path / "out")])
    assert "a batch to out reads this file, and would write it" in str(result.exception)
    assert (source.read_bytes(), model.read_bytes()) == before


@pytest.mark.parametrize("ending", ["journal", "index"])
def test_a_file_of_no_batch_is_never_overwritten(batch: Callable[..., Result], tmp_path: Path, ending: str) -> None:
    side = tmp_path / f"out.jsonl.{ending}"
    side.write_text("mine")
    assert "this file is of no batch" in str(batch(f"{GOOD}\n").exception)
    assert side.read_text() == "mine"


def test_an_output_that_is_the_input_is_not_to_be_removed(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(f"{GOOD}\n")
    result = CliRunner().invoke(cli, ["batch", str(tiny_gguf("Q8_0")), str(source), str(source)])
    assert "reads this file, and would write it" in str(result.exception)
    assert source.read_text() == f"{GOOD}\n"
