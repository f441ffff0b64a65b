"""/v1/completions, /v1/embeddings and the token routes, by OpenAI's client and by hand."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import openai
import pytest
from server.serving import Served, idle
from waiting import until

from glm_gguf import SamplingParams
from glm_gguf.chat.events import TokenLogprob

PROMPT = "[gMASK]<sop><|user|>\nHello<|assistant|>"
GREEDY: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_tokens": 6}


def test_a_text_is_continued_as_the_model_does_it(client: openai.OpenAI, served: Served) -> None:
    answer = client.completions.create(prompt=PROMPT, **GREEDY)
    (choice,) = answer.choices
    assert (answer.object, choice.finish_reason, choice.logprobs) == ("text_completion", "length", None)
    ids = served.glm.prompt_ids([{"role": "user", "content": "Hello"}])
    assert client.completions.create(prompt=ids, **GREEDY).choices[0].text == choice.text
    streamed = client.completions.create(prompt=PROMPT, stream=True, **GREEDY)
    assert "".join(chunk.choices[0].text for chunk in streamed) == choice.text


def test_several_prompts_have_their_choices_in_order(client: openai.OpenAI) -> None:
    prompts = [PROMPT, "abab"]
    alone = [client.completions.create(prompt=prompt, **GREEDY) for prompt in prompts]
    both = client.completions.create(prompt=prompts, n=2, **GREEDY)
    assert [choice.text for choice in both.choices] == [one.choices[0].text for one in alone for _ in range(2)]
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert both.usage is not None
    assert both.usage.prompt_tokens == sum(one.usage.prompt_tokens for one in alone if one.usage)
    texts = [""] * 4
    for chunk in client.completions.create(prompt=prompts, n=2, stream=True, **GREEDY):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in both.choices]


@pytest.mark.parametrize("stream", [False, True])
def test_echo_puts_the_prompt_before_the_text(client: openai.OpenAI, stream: bool) -> None:
    plain = client.completions.create(prompt="abab", **GREEDY).choices[0].text
    echoed = client.completions.create(prompt="abab", echo=True, stream=stream, **GREEDY)
    text = "".join(chunk.choices[0].text for chunk in echoed) if stream else echoed.choices[0].text  # type: ignore[union-attr]
    assert text == "abab" + plain


def joined(choices: list[Any]) -> tuple[str, list[Any], list[Any], list[Any], list[Any]]:
    """Return text, tokens, log probabilities, most likely tokens and offsets of a choice's chunks."""
    text = "".join(choice.text for choice in choices)
    names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    lists = [[one for choice in choices for one in getattr(choice.logprobs, name) or []] for name in names]
    return text, lists[0], lists[1], lists[2], lists[3]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("as_ids", [False, True], ids=["text", "ids"])
def test_echo_scores_the_tokens_of_a_prompt_as_they_would_be_drawn(
    client: openai.OpenAI, served: Served, stream: bool, as_ids: bool
) -> None:
    said = f"{PROMPT}\nHello! 你好"
    prepared = served.glm.continuation(said)
    ids = list(prepared.make_attempt(prepared.sampling)[0].prompt)
    asked: dict[str, Any] = {"prompt": ids if as_ids else said, "echo": True, "logprobs": 2, **GREEDY}
    answer: Any = client.completions.create(stream=stream, **asked)
    text, tokens, values, tops, offsets = joined([one.choices[0] for one in answer] if stream else answer.choices)
    assert text.startswith(said)
    assert len(tokens) == len(ids) + GREEDY["max_tokens"]
    assert (values[0], tops[0]) == (None, None)
    assert all(text.startswith(token, offset) for token, offset in zip(tokens, offsets, strict=True))
    for place in range(1, len(ids)):
        one: Any = client.completions.create(prompt=ids[:place], echo=True, logprobs=2, **{**GREEDY, "max_tokens": 1})
        top = served.glm.stream_completion(ids[:place], SamplingParams(logprobs=20, max_tokens=1))
        drawn = next(event for event in top if isinstance(event, TokenLogprob))
        likely = {other.token.decode(errors="replace"): other.logprob for other in drawn.alternatives}
        assert max(tops[place].values()) == pytest.approx(max(likely.values()), abs=1e-3)
        if tokens[place] in likely:
            assert values[place] == pytest.approx(likely[tokens[place]], abs=1e-3)
        assert joined(one.choices)[2][:place] == pytest.approx(values[:place], abs=1e-3)


def test_a_prompt_is_scored_without_an_answer(client: openai.OpenAI, served: Served) -> None:
    asked: dict[str, Any] = {"prompt": ["abab", "Hello"], "echo": True, "logprobs": 1, "model": "tiny"}
    answer = client.completions.create(max_tokens=0, **asked)
    assert [choice.text for choice in answer.choices] == ["abab", "Hello"]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    counts = [len(choice.logprobs.tokens or []) for choice in answer.choices if choice.logprobs]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (sum(counts), 0)
    longer = client.completions.create(max_tokens=1, **asked)
    for before, after in zip(answer.choices, longer.choices, strict=True):
        assert joined([after])[2][:-1] == pytest.approx(joined([before])[2], abs=1e-4)
    until(lambda: idle(served))


def test_a_token_that_ends_the_text_counts_behind_a_scored_prompt(client: openai.OpenAI) -> None:
    said = f"{PROMPT}\nHello! How can I help you?"
    answer: Any = client.completions.create(prompt=said, echo=True, logprobs=1, **{**GREEDY, "max_tokens": 1})
    assert (answer.choices[0].finish_reason, answer.choices[0].text) == ("stop", said)
    assert joined(answer.choices)[1][-1] == "<|user|>"


def test_log_probabilities_have_their_old_form(client: openai.OpenAI) -> None:
    choice = client.completions.create(prompt="你好 abab", logprobs=2, **GREEDY).choices[0]
    logprobs = choice.logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or []) == choice.text
    assert [
        choice.text[offset:].startswith(token)
        for offset, token in zip(logprobs.text_offset or [], logprobs.tokens or [], strict=True)
    ]
    assert all(len(top) == 2 for top in logprobs.top_logprobs or [])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [10**9]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": {"text": "a"}}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 5000}, "n"),
        ({"lora": {"none": 1.0}}, "lora"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(served: Served, fields: dict[str, Any], param: str) -> None:
    response = httpx.post(f"{served.url}/v1/completions", json={"prompt": "a", **fields})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_embeddings_are_the_engines_vectors_in_both_forms(client: openai.OpenAI, served: Served) -> None:
    expected = served.glm.embed("Hello")
    ids = served.glm.tokenize("Hello")
    given: list[Any] = ["Hello", ["Hello", "你好"], ids, [ids, ids]]
    for one in given:
        answer = client.embeddings.create(model="tiny", input=one)  # asks for base64
        assert np.allclose(answer.data[0].embedding, expected, atol=1e-5)
        floats = client.embeddings.create(model="tiny", input=one, encoding_format="float")
        assert np.allclose(floats.data[0].embedding, answer.data[0].embedding, atol=1e-6)
        assert [data.index for data in answer.data] == list(range(len(answer.data)))
        assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    for refused in ([], "", ["a"] * 3000, [[]]):
        with pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model="tiny", input=refused)
        assert caught.value.param == "input"
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model="tiny", input="a", dimensions=3)


def test_tokens_go_there_and_back(served: Served) -> None:
    with httpx.Client(base_url=served.url) as client:
        tokens = client.post("/tokenize", json={"content": "Hello <|user|> 你好"}).json()
        assert tokens["tokens"] == served.glm.tokenize("Hello <|user|> 你好")
        assert tokens["count"] == len(tokens["tokens"])
        assert client.post("/detokenize", json={"tokens": tokens["tokens"]}).json()["content"] == "Hello <|user|> 你好"
        conversation = {"messages": [{"role": "user", "content": "Hello"}]}
        assert client.post("/apply-template", json=conversation).json()["prompt"] == PROMPT
        ids = client.post("/tokenize", json=conversation).json()["tokens"]
        assert client.post("/detokenize", json={"tokens": ids}).json()["content"] == PROMPT
        refused = client.post("/detokenize", json={"tokens": [10**9]})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tokens")


def test_tokens_come_with_what_they_spell(served: Served) -> None:
    with httpx.Client(base_url=served.url) as client:
        plain = client.post("/tokenize", json={"content": "Grüße 🦥"}).json()["tokens"]
        pieces = client.post("/tokenize", json={"content": "Grüße 🦥", "with_pieces": True}).json()["tokens"]
        strings = client.post("/tokenize", json={"content": "Grüße", "return_token_strs": True}).json()
    spelled = [
        piece["piece"].encode() if isinstance(piece["piece"], str) else bytes(piece["piece"]) for piece in pieces
    ]
    assert [piece["id"] for piece in pieces] == plain
    assert b"".join(spelled).decode() == "Grüße 🦥"
    assert len(strings["token_strs"]) == strings["count"]
