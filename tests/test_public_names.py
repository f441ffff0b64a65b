"""The public names of glm_gguf: one complete list, known to editors and readable in help()."""

from __future__ import annotations

import ast
import inspect
import pydoc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import glm_gguf
from glm_gguf import GLM, ConvertOptions, RequestError, TypeChoices, convert
from glm_gguf.convert import convert as function

REPOSITORY = Path(__file__).resolve().parent.parent
TINY = REPOSITORY / "glm_gguf" / "demo" / "checkpoint"


def typed_names() -> dict[str, str]:
    """Name → module, as the block for type checkers has them."""
    tree = ast.parse(Path(glm_gguf.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


def test_editors_readers_and_python_know_the_same_names() -> None:
    typed = typed_names()
    assert typed.pop("convert") == "glm_gguf.convert"
    assert typed == glm_gguf._HOMES
    assert set(glm_gguf.__all__) == typed.keys() | {"convert"}
    assert dir(glm_gguf) == sorted(glm_gguf.__all__)


def test_help_is_readable() -> None:
    lines = pydoc.render_doc(GLM, renderer=pydoc.plaintext).splitlines()
    assert max(map(len, lines)) <= 240
    assert not any("SamplingParams(temperature=None" in line for line in lines)


def test_every_public_method_says_what_it_does() -> None:
    for name, method in inspect.getmembers(GLM, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.getdoc(method), name


@pytest.mark.parametrize(
    "call",
    [
        lambda out: convert(TINY, out, type="BF16"),
        lambda out: convert(TINY, out, "BF16"),
        lambda out: function(TINY, out, ConvertOptions(types=TypeChoices(type="BF16"))),
        lambda out: function(TINY, out, ConvertOptions(), type="BF16"),
    ],
    ids=["a keyword", "in place of the options", "the options", "beside the options"],
)
def test_a_type_is_named_in_one_word(call: Callable[[Path], tuple[Path, ...]], tmp_path: Path) -> None:
    (made,) = call(tmp_path / "tiny.gguf")
    with GLM(made, options={"threads": 1, "n_ctx": 64}) as glm:
        assert glm.metadata["general.file_type"] == 32  # LLAMA_FTYPE_MOSTLY_BF16
        assert glm.metadata["general.architecture"] == "glm4"
        tokens: Any = glm.metadata["tokenizer.ggml.tokens"]
        assert isinstance(tokens[0], str)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"type": "Q9"}, "unknown type 'Q9'"),
        ({"options": "Q9"}, "unknown type 'Q9'"),
        ({"options": {"threads": 1}}, "no ConvertOptions"),
        ({"options": "Q4_0", "type": "Q8_0"}, "two types are named"),
        ({"type": 5}, "type: 5 is a"),
    ],
    ids=str,
)
def test_a_mistaken_option_is_told(given: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=match):
        convert(TINY, tmp_path / "tiny.gguf", **given)
    with pytest.raises(RequestError, match="no TypeChoices"):
        ConvertOptions("Q4_0")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_package_convert_is_the_function_however_it_is_imported() -> None:
    code = "from glm_gguf import convert; import glm_gguf; assert glm_gguf.convert is convert and callable(convert);"
    code += "from glm_gguf.convert import make_plan"
    subprocess.run([sys.executable, "-c", code], check=True)
