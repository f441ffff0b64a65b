"""The tiny byte-level BPE: GLM's pre-tokenizer and special tokens over a vocabulary learnt from our own dialogues."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder

GLM_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# While merges are learnt, a space before a capital, a Chinese character and a third digit stand alone, so that a
# name is the same tokens in a sentence and in a JSON string and can be copied token by token.
LEARNING_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{Han}| (?=\p{Lu})|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The template's fixed words become single tokens after all other merges.
PHRASES = ("在调用上述函数时", "请使用", "格式表示调用的参数", "可用工具")
SPECIAL_TOKENS = (
    *("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
    *("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"),
)
LEARNT_SIZE = 1496
PADDED_TO = 64


def _splitter(regex: str) -> pre_tokenizers.PreTokenizer:
    """Return a pre-tokenizer that splits by a regex and maps bytes to letters."""
    split = pre_tokenizers.Split(Regex(regex), behavior="isolated", invert=False)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)
    return pre_tokenizers.Sequence([split, byte_level])


def learn(texts: Iterable[str]) -> Tokenizer:
    """Learn the vocabulary; the texts' special tokens must be left out of them."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = _splitter(LEARNING_REGEX)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=LEARNT_SIZE, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    model = json.loads(learner.to_str())["model"]
    vocabulary, merges = model["vocab"], [(left, right) for left, right in model["merges"]]
    for phrase in PHRASES:
        _add_phrase(phrase, vocabulary, merges)
    return _assemble(vocabulary, merges)


def _add_phrase(phrase: str, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
    """Append the merges that build a phrase character by character."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = [byte_level.pre_tokenize_str(character)[0][0] for character in phrase]
    missing = [letter for letter in letters if letter not in vocabulary]
    assert not missing, f"{phrase}: characters are not single tokens"
    built = letters[0]
    for letter in letters[1:]:
        if built + letter not in vocabulary:
            vocabulary[built + letter] = len(vocabulary)
            merges.append((built, letter))
        built += letter


def _assemble(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """Return the finished tokenizer: like llama.cpp's glm4, a whole word in the vocabulary needs no merges."""
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, fuse_unk=False, ignore_merges=True))
    tokenizer.pre_tokenizer = _splitter(GLM_REGEX)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def padded_size(tokenizer: Tokenizer) -> int:
    """Return the model's vocabulary size: the tokenizer's, padded as the official checkpoints pad it."""
    return -(-tokenizer.get_vocab_size() // PADDED_TO) * PADDED_TO


def unreachable(tokenizer: Tokenizer) -> list[str]:
    """List the vocabulary words that merges alone do not rebuild: there ignore_merges would change ids."""
    settings = json.loads(tokenizer.to_str())
    settings["model"]["ignore_merges"] = False
    settings["pre_tokenizer"] = None
    merging = Tokenizer.from_str(json.dumps(settings))
    words = [word for word in settings["model"]["vocab"] if word not in SPECIAL_TOKENS]
    return [word for word in words if merging.encode(word, add_special_tokens=False).tokens != [word]]


def configuration(tokenizer: Tokenizer, chat_template: str) -> dict[str, Any]:
    """Return tokenizer_config.json in the official checkpoints' form."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    added = {str(tokenizer.token_to_id(token)): {"content": token, **flags} for token in SPECIAL_TOKENS}
    return {
        "added_tokens_decoder": added,
        "additional_special_tokens": SPECIAL_TOKENS,
        "chat_template": chat_template,
        "clean_up_tokenization_spaces": False,
        "do_lower_case": False,
        "eos_token": "<|user|>",
        "extra_special_tokens": {},
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 4096,
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
        "remove_space": False,
        "tokenizer_class": "PreTrainedTokenizer",
    }


def load(path: Path) -> Tokenizer:
    """Load a tokenizer.json."""
    return Tokenizer.from_file(str(path))
