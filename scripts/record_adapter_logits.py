"""Record PEFT adapters of random tiny models, and the logits that transformers computes with them.

Needs torch, transformers 5 and peft beside numpy, gguf and this checkout:

    PYTHONPATH=. python scripts/record_adapter_logits.py LLAMA_CPP [case …]

LLAMA_CPP is llama.cpp's source, whose convert_lora_to_gguf.py is compared with. A golden is a directory: the adapters
as peft saved them, the logits with them, and digests of the tensors that llama.cpp makes. tests/convert/adapter makes
the base again from shape, seed and scale, and compares.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from gguf import GGUFReader
from safetensors.torch import load_file, save_file

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from checkpoints import Shape, write_checkpoint  # noqa: E402
from checkpoints_2024 import OWN_NAMES, hf_shape  # noqa: E402

GOLDEN = REPOSITORY / "tests" / "golden" / "adapters"
SCALE = 0.1  # of the base's weights, as in record_logits.py
SEED = 7
TOKENS = 24
BASE = "THUDM/GLM-4-Tiny-0414"

GLM_2024 = hf_shape(Shape(hidden=64, ffn=96, layers=2, heads=2, kv_heads=1, head_dim=32, vocab=320, bias=True))
SHAPE = Shape(hidden=64, ffn=96, layers=2, heads=4, kv_heads=2, head_dim=32, vocab=320, bias=True)
LORA = {"r": 4, "lora_alpha": 8}
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
PATTERNS = {"rank_pattern": {"layers.0.mlp.down_proj": 2}, "alpha_pattern": {r".*layers\.1\.self_attn\.[qk]_proj": 32}}


@dataclass(frozen=True)
class Case:
    """Adapters over one base: name → fields of LoraConfig, and the factor of each."""

    adapters: Mapping[str, Mapping[str, Any]]
    factors: Mapping[str, float] = field(default_factory=dict)
    shape: Shape = SHAPE
    halved: bool = False
    """Whether the adapters are saved in bfloat16."""
    own_names: bool = False
    """Whether q, k and v share lora_A, and the adapters are written in the names of ChatGLM's form."""


CASES = {
    "attention": Case({"attention": {**LORA, "target_modules": ATTENTION}}),
    "gate-up": Case({"gate-up": {**LORA, "target_modules": ["gate_up_proj"]}}),
    "down": Case({"down": {**LORA, "target_modules": ["down_proj"]}}, halved=True),
    "rslora": Case({"rslora": {**LORA, "target_modules": "all-linear", "use_rslora": True}}),
    "patterns": Case({"patterns": {**LORA, "target_modules": "all-linear", **PATTERNS}}),
    "ends": Case({"ends": {**LORA, "target_modules": ["embed_tokens", "lm_head", "v_proj"]}}),
    "glm": Case({"glm": {**LORA, "target_modules": "all-linear"}}, shape=GLM_2024),
    "chatglm": Case({"chatglm": {**LORA, "target_modules": "all-linear"}}, shape=GLM_2024, own_names=True),
    "two": Case(
        {
            "first": {**LORA, "target_modules": ATTENTION},
            "second": {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj"]},
        },
        {"second": -0.5},
    ),
}


def main() -> None:
    """Record the cases named on the command line, or all."""
    script, *wanted = sys.argv[1:]
    transformers.utils.logging.set_verbosity_error()
    for name, case in CASES.items():
        if name in wanted or not wanted:
            with tempfile.TemporaryDirectory() as directory:
                record(name, case, Path(directory))
                if not case.own_names:  # llama.cpp's script keeps q, k and v in one, and reads no such base
                    record_stock(GOLDEN / name, Path(directory), Path(script))


def record(name: str, case: Case, directory: Path) -> None:
    """Write one golden, and print how much its adapters change."""
    source = write_checkpoint(directory / "model", case.shape, seed=SEED, scale=SCALE)
    ids = np.random.default_rng(SEED).integers(0, case.shape.vocab, TOKENS)
    plain = run(loaded(source), ids)
    made = with_adapters(loaded(source), case)
    golden = GOLDEN / name
    shutil.rmtree(golden, ignore_errors=True)
    made.save_pretrained(directory / "saved", save_embedding_layers=False)
    for adapter in case.adapters:
        saved = directory / "saved" / adapter
        (golden / adapter).mkdir(parents=True)
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(saved / file, golden / adapter / file)
        sort_modules(golden / adapter / "adapter_config.json")
        if case.own_names:
            rename(golden / adapter / "adapter_model.safetensors")
        if case.halved:
            halve(golden / adapter / "adapter_model.safetensors")
    logits = run(made, ids)
    about = {"shape": asdict(case.shape), "seed": SEED, "scale": SCALE, "factors": dict(case.factors)}
    about["own_names"] = case.own_names
    about |= {"peft": peft.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    np.savez_compressed(golden / "logits.npz", about=np.array(json.dumps(about)), ids=ids, logits=logits)
    change = np.abs(logits - plain).max() / np.abs(plain).max()
    print(f"{name}: largest logit {np.abs(logits).max():.2f}, adapters change {change:.2f} of it")


def adapters_of(golden: Path) -> list[Path]:
    """The directories of a golden's adapters."""
    return sorted(path for path in golden.iterdir() if path.is_dir())


def record_stock(golden: Path, directory: Path, script: Path) -> None:
    """Write what llama.cpp's script makes of a golden's adapters."""
    stock = {path.name: stock_file(path, directory, script) for path in adapters_of(golden)}
    (golden / "stock.json").write_text(json.dumps(stock, indent=1) + "\n")


def stock_file(adapter: Path, directory: Path, llama_cpp: Path) -> dict[str, Any]:
    """Alpha, and SHA-256 of each tensor, of the GGUF that llama.cpp's own script makes."""
    made = directory / "stock.gguf"
    script = [sys.executable, llama_cpp / "convert_lora_to_gguf.py", "--base", directory / "model"]
    subprocess.run([*script, "--outfile", made, adapter], check=True, capture_output=True)
    reader = GGUFReader(made)
    digests = {tensor.name: hashlib.sha256(tensor.data.tobytes()).hexdigest() for tensor in reader.tensors}
    return {"alpha": reader.fields["adapter.lora.alpha"].contents(), "tensors": digests}


def loaded(source: Path) -> Any:
    """The model as transformers reads it, in float32."""
    return transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager")


def with_adapters(model: Any, case: Case) -> Any:
    """The model with random adapters, all of them active, each at its factor."""
    torch.manual_seed(SEED)
    model.config._name_or_path = model.name_or_path = BASE
    names = list(case.adapters)
    configs = {
        name: peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **fields)
        for name, fields in case.adapters.items()
    }
    made = peft.get_peft_model(model, configs[names[0]], adapter_name=names[0])
    for name in names[1:]:
        made.add_adapter(name, configs[name])
    for parameter_name, parameter in made.named_parameters():
        if "lora_" in parameter_name:
            parameter.data = (torch.randn_like(parameter) * 0.2).bfloat16().float()
    if case.own_names:
        share_a(made)
    made.base_model.set_adapter(names)
    for name, factor in case.factors.items():
        for module in made.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer) and name in module.scaling:
                module.scaling[name] *= factor
    return made.eval()


def sort_modules(path: Path) -> None:
    """Sort the modules that peft lists in the order of a set, another one in every run."""
    config = json.loads(path.read_text("utf-8"))
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2) + "\n")


def share_a(model: Any) -> None:
    """Give k and v the lora_A of q, as a fused query_key_value has one."""
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if "q_proj.lora_A" in name:
            for other in ("k_proj", "v_proj"):
                parameters[name.replace("q_proj", other)].data = parameter.data.clone()


def rename(path: Path) -> None:
    """Write an adapter of the HF form in ChatGLM's names, rows of q, k and v behind one another."""
    tensors = load_file(path)
    made = {}
    for name, tensor in tensors.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj.lora_B" in name:
            tensor = torch.cat([tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
        own = name.replace("self_attn.q_proj", "self_attention.query_key_value")
        for theirs, ours in OWN_NAMES.items():
            own = own.replace(theirs, ours)
        made[own] = tensor.contiguous()
    save_file(made, path, metadata={"format": "pt"})


def halve(path: Path) -> None:
    """Save the tensors of a file again in bfloat16, which loses nothing of them."""
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def run(model: Any, ids: np.ndarray) -> np.ndarray:
    """Logits of every position, (tokens, vocabulary)."""
    with torch.no_grad():
        logits: np.ndarray = model(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].numpy()
    return logits


if __name__ == "__main__":
    main()
