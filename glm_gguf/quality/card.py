"""A model card: what a file was made of and how, its hashes, what was measured, and how it is run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Any, Final

import yaml

from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.contents import MERGED_ADAPTERS
from glm_gguf.gguf_file.file_types import file_type
from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.gguf_file.report import Report
from glm_gguf.gguf_file.values import Metadata, integer, plain_value, text, texts
from glm_gguf.llama.memory_need import written_size
from glm_gguf.quality.saved_evaluation import SavedEvaluation
from glm_gguf.quality.tables import CONTROL, code, markdown_table, shown
from glm_gguf.regular_file import BLOCK, open_regular

LAYER: Final = re.compile(r"^blk\.\d+\.")
HUB: Final = "https://huggingface.co/"
REPOSITORY: Final = re.compile(r"[\w.-]+/[\w.-]+")
RECIPE_KEYS: Final = re.compile(r"quantize\.|glm_gguf\.|glm-gguf\.")
"""Keys that say how types were chosen: llama.cpp's of an importance matrix, and our own."""
RECIPE: Final = "quantize.recipe"


@dataclass(frozen=True, slots=True)
class CardSource:
    """The file, the repository of its original if that is known, and what `evaluate --json` told of it."""

    path: Path
    base_model: str | None = None
    evaluation: SavedEvaluation | None = None

    def __post_init__(self) -> None:
        if self.base_model is not None and not REPOSITORY.fullmatch(self.base_model):
            fix = "write OWNER/NAME, such as THUDM/GLM-4-9B-0414"
            raise RequestError(f"{self.base_model!r} names no repository", field="base_model", fix=fix)


def card(source: CardSource) -> str:
    """Write the card as Markdown, its first lines as hubs read them; raises GlmGgufError."""
    contents = open_all_parts(source.path)
    _require_model(source.path, contents.metadata)
    if source.evaluation is not None:
        source.evaluation.require_file(source.path.name, contents.file_size)
    report = Report.of(contents)
    name = shown(text(contents.metadata, "general.name") or source.path.stem)
    front = yaml.safe_dump(_front(source, contents.metadata), allow_unicode=True, sort_keys=False).strip()
    parts = [f"---\n{front}\n---", f"# {name}, GGUF", *_about(source, contents, report), *_recipe(contents)]
    parts += [*_evaluation(source.evaluation), *_running(source.path), *_hashes(contents)]
    return "\n\n".join(parts) + "\n"


def _require_model(path: Path, metadata: Metadata) -> None:
    """Raise RequestError for a GGUF that is no model, or whose name cannot be written into commands."""
    if (kind := text(metadata, "general.type")) not in (None, "model"):
        raise RequestError(f"this GGUF is of type {kind!r}, no model", path=path, fix="name the file of a model")
    if CONTROL.search(path.name):
        fix = "rename the file"
        raise RequestError("the name has control characters, and stands in commands", where=repr(path.name), fix=fix)


def _front(source: CardSource, metadata: Metadata) -> Mapping[str, Any]:
    """Return the keys that hubs read; nothing that the file does not tell."""
    told: dict[str, Any] = {}
    if source.base_model is not None:
        told |= {"base_model": source.base_model, "base_model_relation": "quantized"}
    elif bases := list(_bases(metadata)):
        told["base_model"] = bases
    for name, key in (("license", "general.license"), ("license_name", "general.license.name")):
        if (value := text(metadata, key)) is not None:
            told[name] = value
    if (link := text(metadata, "general.license.link")) is not None:
        told["license_link"] = link
    if languages := texts(metadata, "general.languages"):
        told["language"] = list(languages)
    tags = dict.fromkeys(("gguf", *(texts(metadata, "general.tags") or ())))
    return {**told, "pipeline_tag": "text-generation", "tags": list(tags)}


def _bases(metadata: Metadata) -> Iterator[str]:
    """Yield the repositories of the models that the original was made from."""
    for number in range(min(integer(metadata, "general.base_model.count") or 0, 16)):
        address = text(metadata, f"general.base_model.{number}.repo_url") or ""
        if address.startswith(HUB) and REPOSITORY.fullmatch(name := address.removeprefix(HUB).rstrip("/")):
            yield name


def _about(source: CardSource, contents: GgufParts, report: Report) -> Iterator[str]:
    licence = text(contents.metadata, "general.license.name") or text(contents.metadata, "general.license")
    rows = {
        "original": "" if source.base_model is None else f"[{source.base_model}]({HUB}{source.base_model})",
        "licence": shown(licence or "not stated in the file"),
        "file type": _type(contents.metadata),
        "size": f"{written_size(contents.file_size)}, {report.bits_per_weight or 0:.2f} bits per weight",
        "weights": f"{report.n_weights:,}",
        "adapters merged": shown(", ".join(texts(contents.metadata, MERGED_ADAPTERS) or ())),
    }
    yield markdown_table(("", ""), [(name, value) for name, value in rows.items() if value], texts=2)
    if problems := [finding for finding in report.findings if finding.severity == "problem"]:
        yield "\n".join(f"- Known fault: {shown(finding.what)}; {shown(finding.mend)}" for finding in problems)


def _type(metadata: Metadata) -> str:
    """Return the name of the mix; where a recipe chose each type, the key names the most frequent one alone."""
    name = file_type(metadata) or ""
    return f"chosen tensor by tensor, mostly {name}" if name and RECIPE in metadata else name


def _recipe(contents: GgufParts) -> Iterator[str]:
    yield "## Types of tensors"
    kinds: dict[str, Counter[str]] = {}
    for tensor in contents.tensors:
        kinds.setdefault(LAYER.sub("", tensor.name), Counter())[tensor.type.name] += 1
    rows = [(name, ", ".join(f"{n} {kind}" for kind, n in types.most_common())) for name, types in kinds.items()]
    yield markdown_table(("tensor", "types"), [(code(name), types) for name, types in rows], texts=2)
    chosen = {key: value for key, value in contents.metadata.items() if RECIPE_KEYS.match(key)}
    if chosen:
        values = [(code(key), shown(str(plain_value(value)))) for key, value in chosen.items()]
        yield markdown_table(("key", "value"), values, texts=2)


def _evaluation(found: SavedEvaluation | None) -> Iterator[str]:
    if found is not None:
        yield "## Evaluation"
        yield found.about
        yield markdown_table(("figure", "value"), found.rows)


def _running(path: Path) -> Iterator[str]:
    yield "## How to run it"
    name = quote(path.name if not path.name.startswith("-") else f"./{path.name}")
    yield f"```sh\nglm-gguf chat {name}\nglm-gguf serve {name}\n```"
    yield f"With llama.cpp:\n\n```sh\nllama-server -m {name} --jinja\n```"


def _hashes(contents: GgufParts) -> Iterator[str]:
    yield "## Files"
    rows = [(shown(file.path.name), f"`{_sha256(file.path)}`", f"{file.file_size:,}") for file in contents.files]
    yield markdown_table(("file", "SHA-256", "bytes"), rows, texts=2)


def _sha256(path: Path) -> str:
    digest = sha256()
    with open_regular(path) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
