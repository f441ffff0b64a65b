"""File, variables and defaults are one configuration; whatever it does not know is refused by its place."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import says

from glm_gguf.configuration.configuration import Configuration, Origin
from glm_gguf.configuration.configuration_file import configuration_path, write_setting
from glm_gguf.configuration.settings import ALL, SETTINGS
from glm_gguf.errors import GlmGgufError, RequestError

Load = Callable[..., Configuration]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a configuration of a file with this text, and of variables."""

    def loaded(text: str | bytes = "", **variables: str) -> Configuration:
        (tmp_path / "c.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return Configuration.load({"GLM_GGUF_CONFIG": str(tmp_path / "c.toml"), **variables})

    return loaded


def test_a_variable_goes_before_the_file_and_the_file_before_the_default(load: Load) -> None:
    found = load("[engine]\nn-ctx = 4096\nthreads = 2\n", GLM_GGUF_N_CTX="512")
    assert [found.value(key) for key in ("n-ctx", "threads", "port")] == [512, 2, None]
    origins = [found.origin(key) for key in ("n-ctx", "threads", "port")]
    assert origins == [Origin.VARIABLE, Origin.FILE, Origin.DEFAULT]


def test_an_empty_variable_and_an_empty_file_set_nothing(load: Load) -> None:
    assert load("", GLM_GGUF_N_CTX="", GLM_GGUF_API_KEY=" \n").in_environment == {}
    assert load("\ufeff# nothing\r\n[engine]\r\n").in_file == {}


VALUES = {
    "a whole number": ("[engine]\nn-gpu-layers = -1", "n-gpu-layers", -1, "-1"),
    "a fraction": ("[sampling]\ntemperature = 1", "temperature", 1.0, "1"),
    "a word": ('[engine]\ncache-type-k = "q8_0"', "cache-type-k", "q8_0", "q8_0"),
    "a number or a word": ("[engine]\ndraft = 7", "draft", 7, "7"),
    "a word for a number": ('[engine]\ndraft = "off"', "draft", 0, "off"),
    "a time": ('[server]\nsleep-after = "1.5h"', "sleep-after", 5400.0, "1.5h"),
    "a size": ('[server]\nsession-limit = "1.5G"', "session-limit", 1.5e9, "1.5 GB"),
    "seconds": ("[server]\nsleep-after = 90", "sleep-after", 90.0, "90"),
    "a list": ('[engine]\ndevice = ["CUDA0", "CUDA1"]', "device", ("CUDA0", "CUDA1"), "CUDA0, CUDA1"),
    "one of a list": ('[server]\ncors-origin = "*"', "cors-origin", ("*",), "*"),
    "a key with a comma": ('[server]\napi-key = " a,b "', "api-key", "a,b", "a,b\n"),
    "a name": ('model = "glm-4-9b"', "model", "glm-4-9b", "glm-4-9b"),
    "an address": ('model = "hf://a/b:Q4_K_M"', "model", "hf://a/b:Q4_K_M", "hf://a/b:Q4_K_M"),
    "a path": ('model = "/a/b.gguf"', "model", Path("/a/b.gguf"), "/a/b.gguf"),
    "a path at home": ('model = "~/b.gguf"', "model", Path.home() / "b.gguf", "~/b.gguf"),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_value_is_read_alike_from_file_and_variable(case: str, load: Load) -> None:
    text, key, expected, variable = VALUES[case]
    assert load(text).value(key) == expected
    assert load("", **{SETTINGS[key].variable: variable}).value(key) == expected


REFUSED = {
    "broken": ("[engine]\nn-ctx 4096", ["c.toml", "no TOML", "line 2, column 7", "correct it"]),
    "twice": ("[engine]\nn-ctx = 1\nn-ctx = 2", ["no TOML", "line 3"]),
    "not UTF-8": (b"model = '\xff'", ["c.toml", "not UTF-8 at byte 9"]),
    "too deep": ("a = " + "[" * 5000, ["c.toml"]),
    "unknown key": ("[engine]\nnctx = 1", ["c.toml, [engine] nctx", "did you mean n-ctx?"]),
    "field's name": ("[engine]\nn_ctx = 1", ["did you mean n-ctx?"]),
    "nothing alike": ("[engine]\nxyz = 1", ["there are: n-ctx, n-parallel"]),
    "unknown section": ("[sever]\nport = 1", ["c.toml, [sever]", "did you mean [server]?"]),
    "wrong section": ("[server]\nn-ctx = 1", ["[server] n-ctx", "below [engine]"]),
    "no section": ("threads = 1", ["c.toml, threads", "below [engine]"]),
    "in a section": ('[engine]\nmodel = "x"', ["[engine] model", "above the first section"]),
    "no table": ("engine = 1", ["c.toml, engine", "unknown"]),
    "out of bounds": ("[server]\nport = 65536", ["c.toml, [server] port", "65536", "give 0 to 65535"]),
    "a fraction": ("[engine]\nthreads = 1.5", ["[engine] threads", "1.5 is no whole number"]),
    "a truth value": ("[engine]\nthreads = true", ["[engine] threads", "True is no whole number"]),
    "no number": ("[sampling]\ntop-p = nan", ["[sampling] top-p", "nan is out of range"]),
    "a word": ('[engine]\ncache-type-k = "q9"', ["'q9' is unknown", "give one of f32, f16"]),
    "no word of a number": ('[engine]\ndraft = "never"', ["[engine] draft", "give 0 to 30, or auto or off"]),
    "no time": ('[server]\nsleep-after = "ten"', ["[server] sleep-after", "'ten' is no time", "90s, 10m or 2h"]),
    "a time of nothing": ('[server]\nsleep-after = "0s"', ["[server] sleep-after", "'0s' is no time"]),
    "no seconds": ("[server]\nsleep-after = -1", ["[server] sleep-after", "-1 is out of range"]),
    "a date": ("[server]\nhost = 2026-01-01", ["[server] host", "a date or time is no text"]),
    "a list of numbers": ("[engine]\ndevice = [1]", ["[engine] device", "a number is no text"]),
    "an empty text": ('[server]\nhost = ""', ["[server] host", "empty"]),
    "two lines": ('[server]\nhost = "a\\nb"', ["[server] host", "cannot be printed"]),
    "the home of nobody": (
        'store = "~nobody-of-all/b"',
        ["c.toml, store", "begins with the home of nobody", "whole path"],
    ),
    "relative": ('model = "b.gguf"', ["c.toml, model", "depends on the current directory", "from / or ~"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_file_may_not_hold_is_refused_by_its_place(case: str, load: Load) -> None:
    text, parts = REFUSED[case]
    with pytest.raises(RequestError) as caught:
        load(text)
    says(str(caught.value), *parts)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("GLM_GGUF_NCTX", "1", ["no setting has this name", "did you mean GLM_GGUF_N_CTX?"]),
        ("GLM_GGUF_XYZ", "", ["no setting has this name", "glm-gguf config show"]),
        ("GLM_GGUF_PORT", "eighty", ["'eighty' is no whole number", "give 0 to 65535"]),
        ("GLM_GGUF_TOP_P", "1.5", ["1.5 is out of range"]),
    ],
    ids=["near", "far", "no number", "bounds"],
)
def test_a_variable_that_names_nothing_or_cannot_be_is_refused(
    name: str, value: str, parts: list[str], load: Load
) -> None:
    with pytest.raises(RequestError) as caught:
        load("", **{name: value})
    says(str(caught.value), f"{name}: ", *parts)


def test_a_key_is_in_no_error(load: Load) -> None:
    for text in ('[server]\napi-key = "geheim\\n?"', "[server]\napi-key = [['geheim']]"):
        with pytest.raises(RequestError) as caught:
            load(text)
        assert "geheim" not in str(caught.value)


def test_the_variable_names_a_file_that_must_be_there_and_the_null_device_is_none(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="GLM_GGUF_CONFIG: there is no such file"):
        Configuration.load({"GLM_GGUF_CONFIG": str(tmp_path / "none.toml")})
    with pytest.raises(RequestError, match="it is a directory"):
        Configuration.load({"GLM_GGUF_CONFIG": str(tmp_path)})
    assert Configuration.load({"GLM_GGUF_CONFIG": os.devnull}).path is None


@pytest.mark.parametrize("name", ["GLM_GGUF_CONFIG", "GLM_GGUF_STORE", "GLM_GGUF_MODEL"])
def test_a_variable_that_begins_with_the_home_of_nobody_is_told(name: str) -> None:
    with pytest.raises(RequestError, match=f"{name}: '~nobody-of-all/x.toml' begins with the home of nobody"):
        Configuration.load({"GLM_GGUF_CONFIG": os.devnull, name: "~nobody-of-all/x.toml"})


def test_without_a_variable_the_file_lies_in_the_users_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    path = configuration_path({})
    assert path is not None
    assert path.parts[-2:] == ("glm-gguf", "config.toml")


FILE = """# ours
model = "glm-4-9b"  # the small one

[server]  # at home
port = 8081
"""


def test_a_changed_setting_leaves_comments_and_all_else(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(FILE)
    assert write_setting(path, SETTINGS["port"], 8082)
    assert path.read_text() == FILE.replace("8081", "8082")
    assert not write_setting(path, SETTINGS["store"], Path("/s"))
    assert not write_setting(path, SETTINGS["device"], ("CUDA0",))
    assert tomllib.loads(path.read_text()) == {
        "model": "glm-4-9b",
        "store": "/s",
        "server": {"port": 8082},
        "engine": {"device": ["CUDA0"]},
    }
    for key in ("store", "device", "port"):
        assert write_setting(path, SETTINGS[key], None)
    assert not write_setting(path, SETTINGS["port"], None)
    says(path.read_text(), "# ours", "# the small one", "# at home")


def test_a_file_that_is_no_configuration_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    for text in ("[engine", "[sever]\n"):
        path.write_text(text)
        with pytest.raises(GlmGgufError):
            write_setting(path, SETTINGS["port"], 1)
        assert path.read_text() == text


def test_only_its_owner_may_read_a_written_file_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "link.toml").symlink_to(tmp_path / "real" / "c.toml")
    (tmp_path / "real").mkdir()
    write_setting(tmp_path / "link.toml", SETTINGS["api-key"], "geheim")
    assert (tmp_path / "link.toml").is_symlink()
    assert (tmp_path / "real" / "c.toml").stat().st_mode & 0o077 == 0


def test_keys_and_variables_are_unique() -> None:
    assert len(SETTINGS) == len(ALL) == len({setting.variable for setting in ALL})
