"""A llama_context: it decodes batches of many sequences to logits, and copies, truncates and restores KV cells."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from glm_gguf.errors import EngineError
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.batch_sizes import OUTPUT_CHUNK
from glm_gguf.llama.context_size import MOST_SEQUENCES
from glm_gguf.llama.engine_options import Scales
from glm_gguf.llama.evaluation_callback import EvaluationCallback
from glm_gguf.llama.library import llama_cpp
from glm_gguf.llama.llama_log import collected_errors
from glm_gguf.llama.load_plan import LoadPlan
from glm_gguf.llama.lora import Adapters
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampler import Sampler

ABORTED: Final = 2  # of llama_decode
# enum llama_flash_attn_type and llama_rope_scaling_type of llama.h
FLASH_ATTENTION: Final = MappingProxyType({None: -1, False: 0, True: 1})
ROPE_SCALING_YARN: Final = 2

_BYTES: Final = ctypes.POINTER(ctypes.c_uint8)
Floats = npt.NDArray[np.float32]


class Context:
    """Owner of a llama_context. One thread uses it; any thread may call `abort`.

    A batch may get `n_outputs` rows of logits, if that is more than the engine needs. The `callback` sees what each
    batch computes.
    """

    def __init__(
        self, model: ModelHandle, plan: LoadPlan, *, n_outputs: int = 0, callback: EvaluationCallback | None = None
    ) -> None:
        self._model = model
        self.plan = plan
        self._callback = callback
        # llama.cpp calls it between the nodes of a graph, on a thread of its own: a Python callback would take Python's
        # lock a thousand times a token. strlen() reads the flag without it: 0 for "", 1 for "x".
        self._abort_flag = ctypes.create_string_buffer(2)
        parameters = context_parameters(plan)
        parameters.n_outputs_max = max(parameters.n_outputs_max, n_outputs)
        if callback is not None:
            parameters.cb_eval = callback.raw
        parameters.abort_callback = ctypes.cast(ctypes.CDLL(None).strlen, llama_cpp.ggml_abort_callback)
        parameters.abort_callback_data = ctypes.c_void_p(ctypes.addressof(self._abort_flag))
        self._pointer: llama_cpp.llama_context_p | None = None
        self._row = (model.vocabulary.size,)
        loaded = model.acquire()  # the model is not freed before its context
        try:
            self._width = (int(llama_cpp.llama_model_n_embd(loaded)),)
            self._pointer = _new_context(loaded, parameters, plan, model.path)
            self._adapters = Adapters(loaded, self.pointer, plan.options.lora, model.path)
            self.use_adapters(plan.options.scales)
            plan.workers.check()
        except BaseException:
            self._free()
            model.release()
            raise

    @property
    def pointer(self) -> llama_cpp.llama_context_p:
        """The llama_context; EngineError after close()."""
        if self._pointer is None:
            raise EngineError("the context is closed", path=self._model.path)
        return self._pointer

    @property
    def _memory(self) -> llama_cpp.llama_memory_t:
        memory: llama_cpp.llama_memory_t = llama_cpp.llama_get_memory(self.pointer)
        return memory

    def decode(self, batch: Batch) -> bool:
        """Compute a batch; False where abort() ended it, and some of its tokens may be in the cache.

        The caller ensures that cells are free, and that token ids and sequences exist. EngineError where llama.cpp
        fails; also what the callback raises.
        """
        if not 0 < len(batch) <= self.plan.batches.alone:
            raise EngineError(f"a batch of {len(batch)} tokens", path=self._model.path)
        with nullcontext() if self._callback is None else self._callback.signals_kept():
            code = int(llama_cpp.llama_decode(self.pointer, batch.raw))
        self._check_workers(done=batch.n_outputs > 0)
        if self._callback is not None:
            self._callback.require_success()
        if code not in (0, ABORTED):
            raise EngineError(f"llama_decode failed on {len(batch)} tokens (code {code})", path=self._model.path)
        return code == 0

    def _check_workers(self, *, done: bool = True) -> None:
        """Raise WorkerLostError where a worker was lost: what was computed since means nothing.

        Before `done` nothing is read: one worker may compute the next prefill batch while another ends this one.
        """
        if self.plan.workers.links:
            if done:
                self.synchronize()
            self.plan.workers.check()

    def synchronize(self) -> None:
        """Wait until the batch is computed: a GPU goes on after decode() returned."""
        llama_cpp.llama_synchronize(self.pointer)

    def use_adapters(self, scales: Scales) -> None:
        """Compute with the LoRA adapters at these scales from now on."""
        self._adapters.use(scales)

    def abort(self) -> None:
        """End the decode under way, or the next one, soon."""
        self._abort_flag[0] = b"x"

    def resume(self) -> None:
        """Let decodes run again."""
        self._abort_flag[0] = b"\0"

    def logits(self, row: int) -> Floats:
        """Return the logits after the token at a row of the batch, [n_vocab], all finite."""
        logits = self.raw_logits(row)
        self._require_finite(float(logits.max()))  # the maximum is NaN where any is
        return logits

    def raw_logits(self, row: int) -> Floats:
        """Return the unchecked logits after the token at a row, [n_vocab]: llama.cpp's own memory, writable."""
        # float * llama_get_logits_ith(struct llama_context * ctx, int32_t i): NULL where there are none
        pointer = llama_cpp.llama_get_logits_ith(self.pointer, row)
        if not pointer:
            raise EngineError("there are no logits to sample from", path=self._model.path)
        logits: Floats = np.ctypeslib.as_array(pointer, self._row)
        return logits

    def sample(self, sampler: Sampler, row: int, logits: Floats) -> int:
        """Sample the token after a row from its logits [n_vocab]; minus infinity forbids a token."""
        highest = int(logits.argmax())  # the index of NaN, where there is one
        if logits[highest] == -math.inf:
            raise EngineError("biases forbid every token that is allowed here", fix="change logit_bias or ignore_eos")
        self._require_finite(float(logits[highest]))
        if sampler.takes_highest:  # llama.cpp would copy every logit into a list of candidates first, 0.3 ms
            return highest
        if sampler.nucleus is not None:
            return sampler.sample(sampler.nucleus.of(logits), logits)
        return int(llama_cpp.llama_sampler_sample(sampler.pointer, self.pointer, row))

    def _require_finite(self, highest: float) -> None:
        """Refuse logits whose maximum is NaN or infinite: llama.cpp's samplers would abort the process."""
        if not math.isfinite(highest):
            raise EngineError("the model computed NaN or infinity", path=self._model.path, fix="verify the file")

    def copy(self, source: int, target: int, length: int, start: int = 0) -> None:
        """Let a sequence share the cells of another from `start` up to `length`."""
        assert 0 <= source < MOST_SEQUENCES
        assert 0 <= target < MOST_SEQUENCES
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, start, length)

    def truncate(self, sequence: int, length: int) -> None:
        """Shorten a sequence to its first `length` tokens, perhaps none."""
        assert 0 <= sequence < MOST_SEQUENCES
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise EngineError("llama.cpp could not truncate its KV cache", path=self._model.path)

    def clear(self) -> None:
        """Empty the KV cache: what comes next takes the same cells as in a new context."""
        llama_cpp.llama_memory_clear(self._memory, True)

    def length(self, sequence: int) -> int:
        """Count the tokens that llama.cpp itself finds in a sequence."""
        return int(llama_cpp.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def embed(self, batch: Batch) -> Floats | None:
        """Compute a batch and return its final hidden states, [tokens, n_embd]; None where abort() ended it."""
        assert len(batch) <= OUTPUT_CHUNK
        with self._embeddings():
            if not self.decode(batch):
                return None
            # float * llama_get_embeddings_ith(struct llama_context * ctx, int32_t i): NULL where there are none
            rows = [llama_cpp.llama_get_embeddings_ith(self.pointer, row) for row in range(len(batch))]
            if not all(rows):
                raise EngineError("llama.cpp returned no hidden states", path=self._model.path)
            return np.stack([np.ctypeslib.as_array(row, self._width) for row in rows])

    def state(self, sequence: int) -> bytes:
        """Return the keys and values of a sequence."""
        size = llama_cpp.llama_state_seq_get_size(self.pointer, sequence)
        state = np.empty(size, np.uint8)
        written = llama_cpp.llama_state_seq_get_data(self.pointer, state.ctypes.data_as(_BYTES), size, sequence)
        self._check_workers()
        if written != size:
            raise EngineError(f"llama.cpp wrote {written} bytes of {size} of a sequence", path=self._model.path)
        return state.tobytes()

    def restore(self, sequence: int, state: bytes) -> None:
        """Give an empty sequence the keys and values that `state` returned; EngineError where llama.cpp refuses."""
        buffer = np.frombuffer(state, np.uint8).ctypes.data_as(_BYTES)
        with collected_errors() as errors:
            read = llama_cpp.llama_state_seq_set_data(self.pointer, buffer, len(state), sequence)
        self._check_workers()
        if not state or read != len(state):
            self.truncate(sequence, 0)
            raise EngineError(f"llama.cpp refused a saved sequence{_reason(errors)}", path=self._model.path)

    def close(self) -> None:
        """Free the context; a second call does nothing."""
        if self._free():
            self._model.release()

    def _free(self) -> bool:
        """Free the llama_context; False where there is none."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            llama_cpp.llama_free(pointer)
        return pointer is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _embeddings(self) -> Iterator[None]:
        """Have llama.cpp output hidden states beside logits inside the block."""
        llama_cpp.llama_set_embeddings(self.pointer, True)
        try:
            yield
        finally:
            llama_cpp.llama_set_embeddings(self.pointer, False)


def context_parameters(plan: LoadPlan) -> llama_cpp.llama_context_params:
    """Fill llama.cpp's struct."""
    options, size, n_batch = plan.options, plan.size, plan.batches.alone
    parameters: llama_cpp.llama_context_params = llama_cpp.llama_context_default_params()
    parameters.n_ctx = max(size.n_cells, n_batch)
    parameters.n_batch = parameters.n_ubatch = n_batch
    parameters.n_seq_max = size.n_running
    parameters.n_outputs_max = max(size.n_running, OUTPUT_CHUNK)
    parameters.kv_unified = True
    parameters.n_threads = plan.threads
    parameters.n_threads_batch = plan.threads_batch
    parameters.flash_attn_type = FLASH_ATTENTION[options.flash_attention]
    parameters.type_k, parameters.type_v = (type_.ggml_type.id for type_ in options.cache_types)
    if options.yarn is not None:
        parameters.rope_scaling_type = ROPE_SCALING_YARN
        parameters.rope_freq_scale = 1 / options.yarn
        parameters.yarn_orig_ctx = size.n_trained
    return parameters


def _new_context(
    model: llama_cpp.llama_model_p, parameters: llama_cpp.llama_context_params, plan: LoadPlan, path: Path
) -> llama_cpp.llama_context_p:
    """Allocate a context; EngineError where llama.cpp refuses."""
    with collected_errors() as errors:
        pointer: llama_cpp.llama_context_p | None = llama_cpp.llama_init_from_model(model, parameters)
    if not pointer:
        plan.workers.check()
        what = f"llama.cpp made no context of {parameters.n_ctx} tokens{_reason(errors)}"
        raise EngineError(what, path=path, fix="lower n_ctx or change the cache types")
    return pointer


def _reason(errors: list[str]) -> str:
    return f": {errors[0]}" if errors else ""
