"""A model's header is read from a hub by as few bytes as it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_file.builder import glm4
from hub_server import HubServer

from glm_gguf.errors import GgufError, HubError
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.store.model_address import ModelAddress
from glm_gguf.store.remote_header import remote_header

HF = "hf://owner/GLM-GGUF"


@pytest.mark.parametrize("scheme", ["hf", "ms"])
def test_headers_are_those_of_the_files(
    scheme: str, hub: HubServer, gguf: bytes, parts: dict[str, bytes], tmp_path: Path
) -> None:
    hub.push("owner/GLM-GGUF", {"GLM-Q6_K.gguf": gguf, **{f"Q8_0/{name}": data for name, data in parts.items()}})
    for type_, files in (("Q6_K", {"GLM-Q6_K.gguf": gguf}), ("Q8_0", parts)):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        found = remote_header(ModelAddress(f"{scheme}://owner/GLM-GGUF", type_))
        local = open_all_parts(tmp_path / min(files))
        assert found is not None
        assert (found.metadata, found.tensors, found.file_size) == (local.metadata, local.tensors, local.file_size)


def test_no_weights_are_fetched(hub: HubServer) -> None:
    model = glm4()
    model.tensors["filler"] = ((2**22,), 0)
    hub.push("owner/GLM-GGUF", {"GLM-F32.gguf": model.encode()})
    found = remote_header(ModelAddress(HF))
    assert found is not None
    assert found.tensors[-1].n_elements == 2**22
    (asked,) = hub.requests("lfs")
    assert asked.range == f"bytes=0-{2**20 - 1}"


def test_a_checkpoint_has_none_and_what_is_no_model_is_told(hub: HubServer, gguf: bytes) -> None:
    hub.push("owner/GLM-GGUF", {"config.json": b"{}", "model.safetensors": b"x"})
    assert remote_header(ModelAddress(HF)) is None
    hub.push("owner/GLM-GGUF", {"README.md": b"#"})
    with pytest.raises(HubError, match="neither a GGUF nor a checkpoint"):
        remote_header(ModelAddress(HF))
    hub.push("owner/GLM-GGUF", {"GLM-Q8_0.gguf": gguf[:1000]})
    with pytest.raises(GgufError):
        remote_header(ModelAddress(HF))
