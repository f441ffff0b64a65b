"""SOURCE is parsed as a user writes it: a path, or a repository on a hub."""

from __future__ import annotations

import pytest

from glm_gguf.convert.source.hub.address import Address, Hub, parse_address
from glm_gguf.errors import RequestError

ADDRESSES = {
    "hf://THUDM/GLM-4-9B-0414": Address(Hub.HUGGING_FACE, "THUDM", "GLM-4-9B-0414"),
    "ms://ZhipuAI/GLM-4-9B-0414": Address(Hub.MODEL_SCOPE, "ZhipuAI", "GLM-4-9B-0414"),
    "hf://THUDM/GLM-4-9B-0414@main": Address(Hub.HUGGING_FACE, "THUDM", "GLM-4-9B-0414", "main"),
    "hf://a/b@refs/pr/1": Address(Hub.HUGGING_FACE, "a", "b", "refs/pr/1"),
    "ms://a/b.c_d-e@v1.0": Address(Hub.MODEL_SCOPE, "a", "b.c_d-e", "v1.0"),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_read_and_written_alike(text: str) -> None:
    address = parse_address(text)
    assert address == ADDRESSES[text]
    assert str(address) == text


@pytest.mark.parametrize("text", ["GLM-4-9B-0414", "/models/GLM", "./hf:/x", "C://models", "hf:THUDM/GLM", "a@b"])
def test_a_path_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "hf://GLM-4-9B-0414",
        "hf://THUDM/GLM/config.json",
        "hf:///etc/passwd",
        "hf://../..",
        "hf://a/..",
        "hf://a/b@",
        "hf://a/b@../../x",
        "hf://a/b@-rf",
        "hf://a/b?x=1",
        "hf://a/b#x",
        "hf://a/b\n",
        "hf://user:token@a/b",
        "ms://" + "a" * 200 + "/b",
        "ftp://a/b",
    ],
)
def test_any_other_url_is_refused_with_the_form_that_is_known(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_address(text)
    assert "hf://OWNER/NAME" in str(caught.value)
    assert str(caught.value).isprintable()
