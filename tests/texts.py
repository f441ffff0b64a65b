"""Texts to tokenise, from a seed: languages, code, emoji, white space, digits, marks, and tokens spelled out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

SPELLED = (
    *("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>"),
    *("<|observation|>", "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"),
)
ALMOST_SPELLED = (
    *("<think>", "</think>", "<|", "|>", "<", "[", "]", "<|user", "user|>", "<|User|>", "[PAD151343]", "[PAD300]"),
    *("<| user |>", "[gMask]", "<sop", "sop>", "<<sop>>", "<|im_end|>", "<s>", "</s>", "<unk>", "<0x0A>", "Ġ", "Ċ"),
)
CHINESE = (
    *("你好", "世界", "，", "。", "！", "？", "、", "：", "“", "”", "《", "》", "（", "）", "【", "】", "†", "…", "——"),
    *("今天天气怎么样", "我", "是", "的", "了", "在", "一", "不", "人", "北京", "上海", "参考资料", "人工智能", "模型"),
    *("機器學習", "臺灣", "龍", "鬱", "𠮷", "𪚥", "〇", "㐀", "量化", "而", "者", "水", "游戏", "请问", "谢谢"),
)
ENGLISH = (
    *("the", "The", "THE", "quick", "brown", "fox", "Hello", "world", "language", "model", "internationalisation"),
    *("don't", "DON'T", "I'm", "we'll", "WE'LL", "they've", "She'd", "it's", "IT'S", "you're", "'tis", "o'clock"),
    *("rock'n'roll", "'s", "'S", "'ll", "'Ve", "’s", "don’t", "naïve", "café", "e.g.", "U.S.A.", "x-ray", "_", "—"),
)
CODE = (
    *("def f(x):\n    return x**2\n", "for (int i = 0; i < n; ++i) {\n\t", "}\n\n", "#include <stdio.h>\r\n", "// "),
    *('{"city": "北京", "days": [1, 2.5, -3e-7]}', "get_weather\n", "```python\n", "```\n", "a->b", "std::vector<int>"),
    *("x != y && !z || w", "=>", "::", "/*", "*/", "<!-- -->", "<div class='a'>", "</div>", "$HOME", "\\n", "\\u4f60"),
    *("SELECT * FROM t WHERE a='b';", "0xDEADBEEF", "1_000_000", "camelCaseName", "snake_case_name", "@@ -1,2 +3 @@"),
)
EMOJI = (
    *("🙂", "😀😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇨🇳", "🇨🇳🇺🇸", "❤️", "☺", "☺️", "1️⃣", "🤷🏿‍♀️", "🫠", "🪿", "©", "™"),
    *("→", "∀", "∑", "√2", "½", "Ⅷ", "①", "²", "№", "♥", "☃", "★", "\U0001fae8", "\ufe0f", "\u200d", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"),
)
SPACE = (
    *(" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", "\v", "\f", " \n", "\n ", " \r\n \t", "\t\t", "\xa0"),
    *("\u2028", "\u2029", "\x85", "\x1c", "\x1f", "\u1680", "\u180e", "\u2003", "\u200a", "\u200b", "\u202f", "\u205f"),
    *("\u2060", "\ufeff", " " * 15, " " * 64, "\u3000", "\n" * 9, "\t" * 17),
)
DIGITS = (
    *("0", "7", "12", "123", "1234", "00000", "3.14159", "2,147,483,648", "1e-5", "50%", "2025-04-14", "192.168.0.1"),
    *("١٢٣", "१२३४", "１２３", "๑๒", "𝟘𝟙𝟚", "二〇二五", "Ⅻ", "ⅷ", "¾", "⁴", "₂", "⑩", "㊿", "零", "1st", "x2"),
)
MARKS = (
    *("é", "e\u0301", "a\u0300\u0301\u0302", "Z\u0351\u036b\u0343", "ñ", "n\u0303", "\u0301", " \u0301", "क्षि", "नमस्ते"),
    *("ที่นี่", "שָׁלוֹם", "مَرْحَبًا", "1\u0301", "\u20dd", "가", "\u1100\u1161", "ﬁ", "ǅ", "ſ", "'ſ", "K", "İ", "ı", "'\u0301s"),
)
SCRIPTS = (
    *("Привет", "мир", "Γειά", "σου", "Κόσμε", "こんにちは", "カタカナ", "ｶﾅ", "漢字かな", "안녕하세요", "مرحبا"),
    *("שלום", "สวัสดี", "ምሳሌ", "Հայ", "ქართული", "བོད་", "ខ្មែរ", "မြန်မာ", "தமிழ்", "ಕನ್ನಡ", "𐍈𐌰", "𝓗𝓮𝓵𝓵𝓸", "ᏣᎳᎩ", "ᚠᚢ"),
)
PIECES: Mapping[str, Sequence[str]] = {
    "chinese": CHINESE,
    "english": ENGLISH,
    "code": CODE,
    "emoji": EMOJI,
    "space": SPACE,
    "digits": DIGITS,
    "marks": MARKS,
    "scripts": SCRIPTS,
    "spelled": (*SPELLED, *ALMOST_SPELLED),
}
EVERY_PIECE = tuple(piece for pieces in PIECES.values() for piece in pieces)
SURROGATES = range(0xD800, 0xE000)
UNICODE_16 = (
    *(range(0x1C89, 0x1C8B), range(0xA7CB, 0xA7CE), range(0xA7DA, 0xA7DD), range(0x105C0, 0x105F4)),
    *(range(0x10D40, 0x10D86), range(0x10EC2, 0x10EC5), range(0x11380, 0x113E3), range(0x116D0, 0x116E4)),
    *(range(0x11BC0, 0x11BFA), range(0x13460, 0x143FB), range(0x16100, 0x1613A), range(0x16D40, 0x16D7A)),
    *(range(0x18CFF, 0x18D00), range(0x1CCF0, 0x1CCFA), range(0x1E5D0, 0x1E5FF)),
)
"""Blocks and letters new in Unicode 16 (2024): symbols to the bundled llama.cpp, letters and digits to the others."""
BLOCKS = (range(0x80), range(0x800), range(0x3000), range(0x10000), range(0x1F000, 0x20000), range(0x110000))


def texts(count: int, seed: int, words: Sequence[str]) -> Iterator[str]:
    """`count` texts, as many of each kind; `words` are pieces of the caller's, say a vocabulary's tokens."""
    random = Random(seed)
    kinds = [_of_pieces(pieces) for pieces in (*PIECES.values(), EVERY_PIECE, (*words, *SPELLED), words)]
    kinds.append(_of_characters)
    for number in range(count):
        yield kinds[number % len(kinds)](random)


def _of_pieces(pieces: Sequence[str]) -> Callable[[Random], str]:
    """Pieces one behind the other, mostly with nothing between, else with spaces, and at times cut anywhere."""

    def text(random: Random) -> str:
        joint = random.choice(("", "", " ", random.choice(SPACE), random.choice(EVERY_PIECE)))
        joined = joint.join(random.choices(pieces, k=_length(random)))
        return joined[random.randrange(len(joined)) :] if joined and random.random() < 0.2 else joined

    return text


def _of_characters(random: Random) -> str:
    """Code points of one block, assigned or not, with a few pieces between."""
    points = random.choices(random.choice(BLOCKS), k=_length(random))
    return "".join(
        chr(point) if settled(point) and random.random() < 0.9 else random.choice(EVERY_PIECE) for point in points
    )


def settled(point: int) -> bool:
    """Whether a code point is a character of which every peer knows if it is a letter."""
    return point not in SURROGATES and not any(point in block for block in UNICODE_16)


def _length(random: Random) -> int:
    """Mostly short, seldom long."""
    return random.choice((1, 2, 3, 4, 6, 10, 20, 60))
