"""Tokenizers as Hugging Face's library trains and writes them, with the tokens that it finds in texts.

`pip install tokenizers`, then `python3 scripts/golden_tokenizers.py` writes crates/data/tests/data/tokenizers: for each
tokenizer its file, and lines of JSON with a text, its tokens, and what these are decoded to.
"""

import json
import random
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FOLDER = Path(__file__).parent.parent / "crates/data/tests/data/tokenizers"
WORDS = (
    "the forge drops a hammer on hot steel and it's shaped at once; they're told that we'll see 12 or 1,234 pieces, "
    "I've never been there, don't you know? He'd say: 'the smith's anvil' isn't new. Naïve café Ångström résumé "
    "Straße Größe über München. 東京 は 日本 の 首都 です. Привет мир, hello world! x = y_1 + z2 * 3.14 (mod 7)"
).split(" ")
TEXTS = [
    "the hammer drops",
    " the hammer  drops   twice\n\n  and\tagain \n",
    "It's they're I'VE we'll he'd don't isn't 'tis ''s",
    "naïve CAFÉ Ångström e\u0301 Straße ½ ² Ⅷ ٣ 1234567",
    "東京は日本の首都です, 你好世界",
    "Привет, мир! ¿Qué? «oui» — no… 100% #tag @you $5 a_b",
    "emoji 🔨🔥 and 👩‍🚀 zero\u200bwidth\u00a0space\u3000ideographic \ufeffmark",
    "हिन्दी में नमस्ते العَرَبِيَّة ไทย",
    "x" * 120 + " y",
    "<|end|>the<|end|> <|end|>\n",
    "a [MASK] b[MASK]c [CLS] the [mask]",
    "\u0000\u0001 control \u007f \r\n line",
    "",
    " ",
    "\n",
    "  \n a",
    "unknownwordsarelong antidisestablishmentarianism",
]


def texts():
    """Those above, and others put together at random."""
    numbers = random.Random(7)
    pieces = WORDS + [" ", "  ", "\n", "\t", "'s", "'", "é", "̈", "𝔘", "ß", "中", "３", "_", "-", "…"]
    more = ["".join(numbers.choices(pieces, k=numbers.randrange(2, 14))) for _ in range(60)]
    more += [" ".join(numbers.choices(WORDS, k=numbers.randrange(2, 14))) for _ in range(20)]
    return TEXTS + more


def write(name, tokenizer):
    tokenizer.save(str(FOLDER / f"{name}.json"), pretty=False)
    with open(FOLDER / f"{name}.jsonl", "w") as file:
        for text in texts():
            tokens = tokenizer.encode(text, add_special_tokens=False).ids
            decoded = tokenizer.decode(tokens, skip_special_tokens=False)
            file.write(json.dumps({"text": text, "tokens": tokens, "decoded": decoded}) + "\n")


def corpus():
    numbers = random.Random(3)
    return [" ".join(numbers.choices(WORDS, k=40)) for _ in range(60)]


def byte_pairs(name, adds_space, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=adds_space)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=520, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True, rstrip=False, normalized=False)])
    write(name, tokenizer)


def word_pieces(name, normalizer):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=260, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    write(name, tokenizer)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    byte_pairs("gpt2", False)
    byte_pairs("gpt2_space", True, ignore_merges=True)
    word_pieces("bert_uncased", normalizers.BertNormalizer(lowercase=True))
    word_pieces("bert_cased", normalizers.BertNormalizer(lowercase=False))
    word_pieces("composed", normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]))
