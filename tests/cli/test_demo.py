"""The demo converts the bundled model, shows the plan, and holds a dialogue with calls."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from glm_gguf.cli.demo import QUESTIONS
from glm_gguf.cli.error_line import as_options, error_line
from glm_gguf.cli.main import cli
from glm_gguf.errors import ContextLengthError, OutputError


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "tiny.gguf"


@pytest.fixture(scope="module")
def output(kept: Path) -> str:
    result = CliRunner().invoke(cli, ["demo", "--keep", str(kept)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_plan_is_shown(output: str) -> None:
    assert "Q4_K_M" in output
    # 416 columns do not divide into the blocks of Q4_K and Q6_K.
    assert set(re.findall(r"blk\.\d\.ffn_down\.weight .* (Q\w+)", output)) == {"Q5_0", "Q8_0"}


def test_every_question_is_asked(output: str) -> None:
    assert [question for question in QUESTIONS if question in output] == [*QUESTIONS]


def test_the_model_calls_functions_and_answers_from_their_results(output: str) -> None:
    assert 'realtime_aqi({"city": "北京"})' in output
    assert 'realtime_aqi({"city": "上海"})' in output
    observed = re.findall(r"observation  (.+)", output)
    assert '{"city": "北京", "aqi": 10, "level": "优"}' in observed
    answers = re.findall(r"^ +model  (.+)", output, re.MULTILINE)
    assert len(answers) == len(QUESTIONS)
    assert all(fact in answers[0] for fact in ("10", "72"))
    a, b = map(int, re.findall(r"\d+", QUESTIONS[2]))
    assert answers[2] == f"{a} plus {b} is {a + b}."


def test_every_kind_of_tensor_has_one_line(output: str) -> None:
    lines = re.findall(r"^(?:blk|output|token_embd)[._]\S+ .* (\d+)$", output, re.MULTILINE)
    assert len(lines) < 20
    assert sum(map(int, lines)) == 55


def test_it_ends_with_what_to_do_next(output: str) -> None:
    commands = output.splitlines()[-2:]
    assert [line.split()[:2] for line in commands] == [["glm-gguf", "pull"], ["glm-gguf", "chat"]]


def test_the_tiny_model_can_be_kept_and_asked(output: str, kept: Path) -> None:
    assert f"The tiny model stays in {kept}." in output
    ask = ["run", str(kept), "word " * 9000]
    with pytest.raises(ContextLengthError) as caught:
        CliRunner().invoke(cli, ask, catch_exceptions=False)
    assert error_line(caught.value).endswith("; give a shorter text, or stretch the context by --yarn 4")


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    there = tmp_path / "there.gguf"
    there.write_text("mine")
    with pytest.raises(OutputError, match="exists already; choose another FILE for --keep"):
        CliRunner().invoke(cli, ["demo", "--keep", str(there)], catch_exceptions=False)
    assert there.read_text() == "mine"


@pytest.mark.parametrize("name", ["", "tiny.txt"])
def test_a_kept_model_has_a_models_name(name: str) -> None:
    with pytest.raises(OutputError, match=r"does not end in \.gguf; name a \.gguf file"):
        CliRunner().invoke(cli, ["demo", "--keep", name], catch_exceptions=False)


@pytest.mark.parametrize("text", ["general.sampling.top_k", "convert hf://temperature/max_tokens", "top_k/n_ctx"])
def test_no_part_of_a_key_or_a_path_becomes_an_option(text: str) -> None:
    assert as_options(text) == text
