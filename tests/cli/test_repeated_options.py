"""An option of one value that is given twice is refused; what may be repeated is not."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from glm_gguf.cli.main import cli
from glm_gguf.errors import RequestError

MODEL = "no-such.gguf"
REFUSED = {
    "a file": (("convert", ".", "-o", "a.gguf", "--out", "b.gguf"), "--out"),
    "a name": (("serve", MODEL, "--alias", "a", "--alias", "b"), "--alias"),
    "a number": (("run", MODEL, "Hi", "--n-ctx=512", "--n-ctx", "1024"), "--n-ctx"),
}
PASSES = {
    "another mistake": (("list", "--nonsense", "--json", "--json"), "No such option"),
    "help": (("serve", MODEL, "--alias", "a", "--alias", "b", "--help"), "Usage:"),
    "several values": (("serve", MODEL, "--api-key", "a", "--api-key", "b", "--port", "0"), MODEL),
    "a switch twice": (("inspect", MODEL, "--json", "--json"), MODEL),
}


@pytest.mark.parametrize(("line", "option"), REFUSED.values(), ids=REFUSED)
def test_an_option_of_one_value_is_given_once(line: tuple[str, ...], option: str) -> None:
    error = CliRunner().invoke(cli, line).exception
    assert isinstance(error, RequestError)
    assert str(error) == f"{option}: it is given 2 times; give it once"


@pytest.mark.parametrize(("line", "told"), PASSES.values(), ids=PASSES)
def test_others_are_given_as_often_as_one_likes(line: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(cli, line)
    assert told in f"{done.output} {done.exception}"
    assert "times" not in str(done.exception)
