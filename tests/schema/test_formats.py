"""Grammar, check and, for formats it has, the standard library agree on every format."""

from __future__ import annotations

import json
from datetime import date
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from glm_gguf.schema.formats import fits_format
from glm_gguf.schema.grammar_share import compile_schema
from glm_gguf.schema.pattern_search import byte_tokenizer

CASES = {
    "json-pointer": (["", "/a/b", "/~0~1", "/a//b"], ["a", "/~", "/~2", "#/a"]),
    "relative-json-pointer": (["0", "1/a", "2#", "0/~0"], ["/a", "01/a", "-1/a", "1a"]),
    "uri-reference": (
        ["", "/a?b#c", "//host/x", "#frag", "http://x.y/z", "//[::1]:8/", "//[2001:db8::1:2:3]"],
        ["\\\\host\\x", "a b", "#a#b", "%zz", "/ä", "a]", "//h:x/"],
    ),
    "ipv6": (["::ffff:192.168.0.1", "1:2::192.168.0.1", "::", "2001:db8::1:2"], ["::1::", "1:2", "::300.0.0.1"]),
    "iri": (["http://ƒøø.ßår/?∂éœ=πîx", "urn:x"], ["/abc", "âππ", "http://a b"]),
    "iri-reference": (["/âππ", "#ƒ", ""], ["a b", "\\\\x"]),
    "uri-template": (["/a/{b}", "{?x,y*}", "/a/{b:3}", ""], ["/{a", "/a}", "{a b}", "%zz"]),
    "time": (["12:00:00Z", "23:59:60Z", "00:00:00.5+01:00"], ["12:00:60Z", "24:00:00Z", "12:00Z"]),
    "idn-email": (["실례@실례.테스트", "a@b"], ["a", "@b", "a@"]),
    "regex": (["^a+$", r"(?<x>a)\k<x>"], ["(", "*a"]),
    "date-time": (["2024-02-29T00:00:00Z", "2023-12-31T23:59:59.5+01:00"], ["2023-02-29T00:00:00Z", "2024-01-01"]),
    "no such format": (["anything"], []),
}


@pytest.mark.parametrize(
    ("name", "text", "fits"),
    [
        (name, text, fits)
        for name, (good, bad) in CASES.items()
        for fits, texts in ((True, good), (False, bad))
        for text in texts
    ],
)
def test_grammar_and_check_agree(name: str, text: str, fits: bool) -> None:
    compiled = compile_schema({"type": "string", "format": name})
    matcher = LLMatcher(byte_tokenizer(), LLMatcher.grammar_from_json_schema(compiled.grammar), log_level=0)
    written = list(json.dumps(text, ensure_ascii=False).encode())
    taken = matcher.try_consume_tokens(written) == len(written) and matcher.is_accepting()
    assert fits_format(name, text) is fits
    assert (compiled.problem(text) is None) is fits
    assert taken is (fits or not compiled.exact)


@settings(deadline=None)
@given(year=st.integers(1, 9999), month=st.integers(0, 13), day=st.integers(0, 32))
def test_only_real_days_are_dates(year: int, month: int, day: int) -> None:
    text = f"{year:04}-{month:02}-{day:02}"
    try:
        date.fromisoformat(text)
    except ValueError:
        assert not fits_format("date", text)
    else:
        assert fits_format("date", text)


@settings(deadline=None)
@given(st.ip_addresses())
def test_addresses_are_addresses(address: IPv4Address | IPv6Address) -> None:
    assert fits_format(f"ipv{address.version}", str(address))
    assert not fits_format(f"ipv{10 - address.version}", str(address))
