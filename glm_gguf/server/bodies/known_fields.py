"""Fields that other APIs and servers have and our schemas do not declare, with the decision for each.

A declared field is honoured. Any other is looked up here. It passes without effect, it is ignored and a header of the
response names it, or it is refused: without it the answer would not be the requested one. A value that requests nothing
(null, false, an empty list) passes in any field.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from glm_gguf.server.bodies.field_decisions import (
    IgnoredField,
    KnownField,
    NoEffect,
    RefusedField,
    asks_by_presence,
    asks_for_nothing,
)


def _all(names: str, field: KnownField) -> dict[str, KnownField]:
    return dict.fromkeys(names.split(), field)


_ACCOUNTS: Final = "it is for the accounts of a service"
_SPEED: Final = "it affects speed, not the answer"
_OWN: Final = "give this API's own field for it"
_FORM: Final = "give this API's own field for the form of the answer"
_SAMPLING: Final = "this API has no such field; use chat completions"
_ELSEWHERE: Final = "this API has no such field"
_NO_SAMPLER: Final = "this sampler does not exist here; use temperature, top_k, top_p, min_p, penalties or DRY"

OPENAI: Final = {
    **_all("user safety_identifier metadata service_tier store", NoEffect("OpenAI", _ACCOUNTS)),
    **_all("prompt_cache_key prompt_cache_options prompt_cache_retention prediction", NoEffect("OpenAI", _SPEED)),
    "stream_options": NoEffect("OpenAI", "it affects how a stream is written, not the answer"),
    "client_metadata": NoEffect("Codex", _ACCOUNTS),
    **_all("modalities audio", RefusedField("OpenAI", "the models write text", (["text"],))),
    "web_search_options": RefusedField("OpenAI", "this API has no such field; use chat completions"),
    "moderation": RefusedField("OpenAI", "the server does not moderate"),
    "background": RefusedField("OpenAI", "the server does not write responses in the background"),
    **_all(
        "previous_response_id conversation",
        RefusedField("OpenAI", "the server stores nothing; give the whole conversation"),
    ),
    "context_management": IgnoredField("OpenAI, Anthropic", "a conversation is used as it is"),
    **_all("access_programs image background_options", NoEffect("OpenAI", "it controls how a service computes")),
    **_all("personality verbosity", IgnoredField("OpenAI", "the models have no such setting; request it in a message")),
    "max_tool_calls": IgnoredField("OpenAI", "it counts calls of tools that a service runs; this API has none"),
    **_all("suffix", RefusedField("OpenAI", "GLM-4-0414 cannot fill in the middle")),
    "best_of": RefusedField("OpenAI, vLLM", "the server does not rank answers; request `n` and choose", (0, 1)),
    **_all(
        "instructions system system_prompt system_instruction",
        RefusedField("OpenAI, Anthropic, Ollama, Gemini", "give a message of the role system"),
    ),
    **_all("messages prompt input inputs text texts contents tools functions", RefusedField("all", _ELSEWHERE)),
    **_all("tool_choice function_call", RefusedField("OpenAI", _ELSEWHERE, ("auto", "none"))),
    "parallel_tool_calls": RefusedField("OpenAI", "this API has no such field; see `tool_choice`", (True,)),
    "disable_parallel_tool_use": RefusedField("Anthropic", "give `parallel_tool_calls`"),
    **_all("tool_config function_calling_config", RefusedField("Gemini, Bedrock", "give `tool_choice`")),
}
ANTHROPIC: Final = {
    "container": RefusedField("Anthropic", "the server runs no code"),
    "mcp_servers": RefusedField("Anthropic", "the server calls no MCP servers; declare their functions"),
    **_all("betas inference_geo speed cache_control", NoEffect("Anthropic", "it controls how a service computes")),
    **_all("diagnostics user_profile_id workspace_id", NoEffect("Anthropic", _ACCOUNTS)),
    **_all("billing_policy fallback_credit_token", NoEffect("Anthropic", _ACCOUNTS)),
    "fallbacks": NoEffect("Anthropic", "the server answers with the model that is asked, or refuses"),
    "compaction": RefusedField("Anthropic", "the server does not summarise; request it in a message"),
    "anthropic_version": NoEffect("Anthropic", "there is one version here"),
}
CONSTRAINTS: Final = {
    **_all("response_format json_schema grammar format", RefusedField("OpenAI, llama.cpp, Ollama", _FORM)),
    **_all("guided_json guided_regex guided_choice guided_grammar structured_outputs", RefusedField("vLLM", _FORM)),
    **_all("regex ebnf", RefusedField("SGLang", _FORM)),
    **_all("schema output_schema output_format output_config", RefusedField("Anthropic, others", _FORM)),
    **_all("json json_object json_mode lark choice choices grammar_string", RefusedField("others", _FORM)),
    **_all("response_model text_format grammar_file regex_pattern", RefusedField("others", _FORM)),
    **_all("constraint constraints outlines", RefusedField("others", _FORM)),
    **_all("guided_decoding guided_options guidance response_mime_type", RefusedField("vLLM, Gemini, others", _FORM)),
    **_all("guided_decoding_backend guided_whitespace_pattern", IgnoredField("vLLM", "there is one grammar engine")),
    **_all("grammar_lazy grammar_triggers", RefusedField("llama.cpp", "grammars apply from the first token")),
    "structural_tag": RefusedField("vLLM, SGLang", "give the whole form of the answer as a schema or a grammar"),
    "chat_format": RefusedField("llama-cpp-python", "the server uses the model's own template"),
}
SAMPLING: Final = {
    **_all("temperature top_p frequency_penalty presence_penalty", RefusedField("OpenAI", _SAMPLING)),
    **_all("stop logit_bias n", RefusedField("OpenAI", _SAMPLING, (1,))),
    **_all("logprobs top_logprobs", RefusedField("OpenAI", _SAMPLING, (0,))),
    "seed": RefusedField("OpenAI", _SAMPLING, (-1,)),
    **_all("top_k", RefusedField("llama.cpp, vLLM", _SAMPLING, (0, -1))),
    **_all("min_p", RefusedField("llama.cpp, vLLM", _SAMPLING, (0,))),
    **_all("repeat_penalty repetition_penalty", RefusedField("llama.cpp, vLLM", _SAMPLING, (0, 1))),
    **_all("repeat_last_n penalty_last_n", RefusedField("llama.cpp", "this API has no penalties", (0, -1, 64))),
    **_all("dry_multiplier", RefusedField("llama.cpp", _SAMPLING, (0,))),
    **_all(
        "dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers",
        NoEffect("llama.cpp", "it is a detail of DRY, which `dry_multiplier` turns on"),
    ),
    **_all(
        "max_tokens max_completion_tokens max_output_tokens max_new_tokens n_predict num_predict",
        RefusedField("OpenAI, llama.cpp, Ollama", "give this API's own field for the length", (-1,)),
    ),
    **_all("ignore_eos", RefusedField("llama.cpp, vLLM", _SAMPLING)),
    **_all("stop_sequences", RefusedField("Anthropic", _SAMPLING)),
    **_all("stop_strings stopping_strings stop_token", RefusedField("transformers, others", "give `stop`")),
    **_all("max_length", RefusedField("transformers", "it counts the prompt too; give the length of the answer")),
    **_all("num_return_sequences num_choices", RefusedField("transformers", "give `n`", (1,))),
    **_all("do_sample", RefusedField("transformers", "give `temperature`, 0 for the most likely token", (True,))),
    **_all(
        "use_beam_search num_beams num_beam_groups",
        RefusedField("transformers", "answers are sampled token by token", (0, 1)),
    ),
    **_all("no_repeat_ngram_size", RefusedField("transformers", "give `dry_multiplier`", (0,))),
    **_all("repetition_penalty_range", RefusedField("text-generation-webui", "give `penalty_last_n`", (0, -1))),
    **_all("typical_p top_a tfs_z tfs min_keep", RefusedField("llama.cpp, others", _NO_SAMPLER, (1, 0))),
    **_all("mirostat mirostat_mode", RefusedField("llama.cpp, Ollama", _NO_SAMPLER, (0,))),
    **_all("mirostat_tau mirostat_eta", NoEffect("llama.cpp, Ollama", "it is a detail of `mirostat`")),
    "xtc_probability": RefusedField("llama.cpp", _NO_SAMPLER, (0,)),
    "xtc_threshold": NoEffect("llama.cpp", "it is a detail of `xtc_probability`"),
    **_all("dynatemp_range adaptive_target", RefusedField("llama.cpp", _NO_SAMPLER, (0, -1))),
    **_all("dynatemp_exponent adaptive_decay", NoEffect("llama.cpp", "it is a detail of another sampler")),
    **_all(
        "top_n_sigma nsigma epsilon_cutoff eta_cutoff smoothing_factor penalty_alpha",
        RefusedField("llama.cpp, text-generation-webui", _NO_SAMPLER, (0, -1)),
    ),
    **_all("samplers sampler_seq", RefusedField("llama.cpp", "the order is fixed: penalties, temperature, cuts")),
    **_all("penalize_nl penalty_prompt", RefusedField("llama.cpp", "penalties cover the answer alone")),
    **_all(
        "min_tokens min_length min_new_tokens",
        RefusedField("vLLM, SGLang, transformers", "the model decides where an answer ends", (0,)),
    ),
    **_all("ban_eos_token", RefusedField("text-generation-webui", "give `ignore_eos`")),
    **_all("stop_token_ids eos_token_id stop_regex", RefusedField("vLLM, SGLang", "answers end at texts; give `stop`")),
    **_all(
        "no_stop_trim include_stop_str_in_output",
        RefusedField("vLLM, SGLang", "the text that ends an answer is left out"),
    ),
    **_all(
        "bad_words bad_words_ids allowed_token_ids allowed_tokens banned_tokens banned_strings custom_token_bans",
        RefusedField("vLLM, others", "give `logit_bias`, or the form of the answer"),
    ),
    **_all("length_penalty early_stopping", RefusedField("vLLM", "it belongs to beam search", (0, 1))),
    **_all("logits_processors custom_logit_processor", RefusedField("vLLM, SGLang", "the API accepts no code")),
    **_all(
        "options sampling_params sampling_parameters generation_config inference_config parameters model_kwargs",
        RefusedField("Ollama, SGLang, TGI, Gemini, Bedrock", "give its fields at the top level of the request"),
    ),
    **_all("speculative", NoEffect("llama.cpp", _SPEED)),
    "t_max_predict_ms": RefusedField("llama.cpp", "give `timeout`, in seconds", (0, -1)),
    "n_indent": RefusedField("llama.cpp", "lines are not cut by their indentation", (0,)),
}
PROMPTS: Final = {
    **_all("n_keep n_discard", RefusedField("llama.cpp", "a context is never shifted", (0, -1))),
    **_all("truncate_prompt_tokens", RefusedField("vLLM", "a prompt is processed whole, or refused", (-1,))),
    "truncation": RefusedField("OpenAI", "a prompt is processed whole, or refused", ("disabled", "auto")),
    **_all("transforms", RefusedField("OpenRouter", "a prompt is processed whole, or refused")),
    **_all("chat_template", RefusedField("vLLM, llama.cpp", "the server uses the model's own template")),
    **_all("template raw", RefusedField("Ollama", "the model's own template renders `messages`")),
    "context": RefusedField("Ollama", "the server stores nothing; give the whole conversation to /api/chat"),
    "documents": RefusedField("vLLM", "the model's template has no documents; put them into a message"),
    **_all(
        "mm_processor_kwargs media_io_kwargs allowed_local_media_path", RefusedField("vLLM", "the models read text")
    ),
    "add_special_tokens": RefusedField("vLLM", "the model's template writes them"),
    "echo": RefusedField("vLLM", "an answer starts after the conversation"),
    "add_generation_prompt": RefusedField("vLLM", "this API has no such field", (True,)),
    "continue_final_message": RefusedField("vLLM", "this API has no such field"),
    **_all(
        "continue_ prefill assistant_prefix start_reply_with",
        RefusedField("text-generation-webui, others", "give `continue_final_message`, and the beginning as a message"),
    ),
}
THOUGHTS: Final = {
    **_all(
        "chat_template_kwargs enable_thinking thinking think reasoning reasoning_effort thinking_budget",
        RefusedField("vLLM, Ollama, OpenRouter", _OWN, (True, -1, "auto")),
    ),
    **_all("enabled effort thinking_config", RefusedField("OpenRouter, Anthropic, Gemini", _OWN, (True,))),
    **_all("disable_thinking no_think", RefusedField("others", _OWN)),
    **_all("max_thinking_tokens", RefusedField("others", _OWN, (-1,))),
    **_all(
        "reasoning_budget thinking_budget_tokens thinking_token_budget",
        RefusedField("vLLM, llama.cpp", "give the thinking budget of this API", (-1,)),
    ),
    **_all("include_reasoning", RefusedField("vLLM, OpenRouter", "this API has no such field", (True,))),
    **_all(
        "reasoning_format",
        RefusedField("llama.cpp, Groq", "this API has no such field", ("auto", "deepseek", "parsed")),
    ),
    "separate_reasoning": RefusedField("SGLang", "the thought is always separate", (True,)),
    "stream_reasoning": NoEffect("SGLang", "thoughts stream"),
    "reasoning_in_content": RefusedField("llama.cpp", "the thought is always separate"),
    "thinking_forced_open": NoEffect("llama.cpp", "the model's template decides it"),
    **_all("parse_tool_calls", NoEffect("llama.cpp", "calls are always parsed")),
}
SERVICE: Final = {
    **_all("cache_prompt id_slot slot_id", NoEffect("llama.cpp", _SPEED)),
    **_all("priority request_id rid kv_transfer_params data_parallel_rank", NoEffect("vLLM, SGLang", _SPEED)),
    **_all("cache_salt", NoEffect("vLLM", "the cache reveals nothing of other requests")),
    **_all("keep_alive", IgnoredField("Ollama", "the server decides how long a model stays loaded, by --sleep-after")),
    **_all("timings_per_token", IgnoredField("llama.cpp", "the last chunk has `timings`")),
    **_all("response_fields", RefusedField("llama.cpp", "responses are whole")),
    **_all("n_probs post_sampling_probs", RefusedField("llama.cpp", "give `logprobs` and `top_logprobs`", (0,))),
    **_all("return_tokens return_token_ids return_tokens_as_token_ids", RefusedField("vLLM", "answers are text")),
    **_all("return_hidden_states", RefusedField("SGLang", "answers are text")),
    **_all("prompt_logprobs", RefusedField("vLLM", "give `echo` and `logprobs` to completions", (-1,))),
    **_all(
        "skip_special_tokens spaces_between_special_tokens detokenize",
        RefusedField("vLLM", "answers are text", (True,)),
    ),
    **_all("vllm_xargs extra_body extra_headers extra_query", IgnoredField("clients", "the server does not read it")),
    **_all("provider models route plugins usage", IgnoredField("OpenRouter", "there is one model here")),
    **_all("lora_path", RefusedField("SGLang", "give `lora`, by name")),
    **_all("lora timeout", RefusedField("ours", "this API has no such field")),
    **_all("citations search_parameters", IgnoredField("others", "the server does not search")),
    **_all("safe_prompt guardrails", RefusedField("Mistral, others", "the server does not moderate")),
    **_all("random_seed", RefusedField("Mistral", "give `seed`")),
    "tags": NoEffect("LiteLLM", _ACCOUNTS),
}
OLLAMA: Final = {
    **_all("images width height steps", RefusedField("Ollama", "the models read and write text")),
    "_debug_render_only": RefusedField("Ollama", "the server answers; /apply-template renders a prompt"),
    **_all("shift num_keep", IgnoredField("Ollama", "a context is never shifted")),
    "penalize_newline": RefusedField("Ollama", "penalties cover line breaks too", (True,)),
    **_all(
        "num_ctx num_batch num_gpu main_gpu num_thread numa low_vram f16_kv use_mmap use_mlock logits_all vocab_only "
        "embedding_only runner",
        IgnoredField("Ollama", "options of `glm-gguf serve` decide how the model is loaded"),
    ),
}
TOKENS: Final = {
    "add_special": RefusedField("llama.cpp", "a text has no initial control tokens; give `messages`"),
    "parse_special": RefusedField("llama.cpp", "a text has no control tokens; give `messages`"),
}
EMBEDDINGS: Final = {
    "task": RefusedField("vLLM, others", "the model embeds any text alike"),
    **_all(
        "input_type task_type prompt_name late_chunking",
        RefusedField("NVIDIA, Cohere, Gemini, Jina", "the model embeds any text alike"),
    ),
    "instruction": RefusedField("Jina, others", "no instruction is added; write it into a message, or before the text"),
    **_all("output_dimension output_dimensionality", RefusedField("Voyage, Gemini", "vectors cannot be cut")),
    **_all("output_dtype", RefusedField("Voyage", "give `encoding_format`", ("float", "float32"))),
    **_all("embedding_types", RefusedField("Cohere", "give `encoding_format`", (["float"],))),
    "truncate": RefusedField("NVIDIA, Ollama", "a text is processed whole, or refused", ("NONE", "none")),
    "normalize": RefusedField("vLLM", "vectors have length 1", (True,)),
    "embd_normalize": RefusedField("llama.cpp", "vectors have length 1", (2,)),
    "pooling": RefusedField("llama.cpp", "vectors are the mean of all tokens", ("mean",)),
    "embed_dtype": RefusedField("vLLM", "give `encoding_format`", ("float32",)),
}
KNOWN_FIELDS: Final[Mapping[str, KnownField]] = MappingProxyType(
    OPENAI | ANTHROPIC | CONSTRAINTS | SAMPLING | PROMPTS | THOUGHTS | SERVICE | OLLAMA | TOKENS | EMBEDDINGS
)


def refused_field(body: Mapping[str, Any], declared: Collection[str]) -> tuple[str, RefusedField] | None:
    """Return the first unsupported field, and why it is refused."""
    for name, value in body.items():
        known = None if name in declared else KNOWN_FIELDS.get(name)
        if isinstance(known, RefusedField) and (
            asks_by_presence(name, value) or not asks_for_nothing(value, known.off)
        ):
            return name, known
    return None


def ignored_fields(body: Mapping[str, Any], declared: Collection[str]) -> list[str]:
    """Return the fields that request something and are ignored: those of the table, and unknown ones."""
    return [
        name
        for name, value in body.items()
        if name not in declared
        and isinstance(KNOWN_FIELDS.get(name), IgnoredField | None)
        and not asks_for_nothing(value)
    ]
