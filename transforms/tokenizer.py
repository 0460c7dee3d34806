"""The tokenizer: trained on a corpus, loaded from a file, saved for `transformers`. No Beam.

Shapes: N documents.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from tokenizers import decoders as token_decoders

from transforms.bpe_trainer import train_bpe, train_wordpiece
from transforms.unigram_trainer import most_frequent, train_pieces
from transforms.word_counts import Model, WordCounter, Words, merged, steps_of

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4 of every tokenizer trained here
MIN_VOCAB_SIZE = 262  # special tokens, one symbol for each byte, and something to learn

# BERT and its family, RoBERTa and its family, XLNet, Gemma (mmBERT). ModernBERT uses BERT's names.
_ROLES = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>", "<cls>", "<bos>"),
    "sep": ("[SEP]", "</s>", "<sep>", "<eos>"),
    "mask": ("[MASK]", "<mask>"),
}
# A Unigram model takes an entry of its vocabulary for a text that spells it, unless others have a larger sum of scores.
# Each character of these is a piece, and no score learned is below -30.
_SPELLING = "".join(sorted(set("".join(SPECIAL_TOKENS) + "[unused0123456789]")))
_NEVER = -1000.0
_SALT = np.uint64(0x9E3779B97F4A7C15)


class SpecialIds(NamedTuple):
    """Ids of the five special tokens an encoder is trained with."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainParameters:
    """What tokenizer to train.

    Args:
        model: `wordpiece` (BERT's normaliser and pre-tokeniser), `bpe` (byte-level, as GPT-2, RoBERTa and ModernBERT)
            or `unigram` (NFKC and Metaspace, as XLM-R, ALBERT and DeBERTa).
        vocab_size: at most this many tokens, special tokens included; a small corpus may not fill it.
        pad_to: the vocabulary is filled up with [unused0], [unused1], ... to a multiple of this; no text becomes them.
        lowercase: fold case; WordPiece then strips accents as well, as BERT's uncased models do. None is what is usual:
            folded for WordPiece, not for the others.
    """

    model: Model = "wordpiece"
    vocab_size: int = 30522
    pad_to: int = 1
    lowercase: bool | None = None


def sample_mask(content_hash_N: NDArray[np.uint64], fraction: float) -> NDArray[np.bool_]:
    """Return bool [N]: True for about `fraction` of the documents, chosen by content so that every run agrees.

    The hash is mixed once more (splitmix64, Steele et al. 2014), so the choice is independent of the validation split,
    which takes the smallest hashes.

    Raises:
        ValueError: `fraction` is not within 0 and 1.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"sample fraction {fraction} is not within 0 and 1")
    if fraction == 1.0:
        return np.ones(len(content_hash_N), np.bool_)
    mixed_N = content_hash_N + _SALT
    mixed_N = (mixed_N ^ (mixed_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed_N = (mixed_N ^ (mixed_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed_N ^= mixed_N >> np.uint64(31)
    return mixed_N < np.uint64(int(fraction * 2**64))


def language_rates(bytes_by_language: Mapping[str, int], *, sample_bytes: int, temperature: float) -> dict[str, float]:
    """Return how often a text of each language is read for training: below 1 for that share of them, above 1 again.

    As much is read as there is, `sample_bytes` at most, and the share of a language in it is proportional to its bytes
    to the power of `temperature` (1: as it is; 0: as much of each). No text is read more than 100 times: a language of
    one page, often a mistake of the detector's, is not worth more.

    Raises:
        ValueError: `temperature` is not within 0 and 1.
    """
    if not 0.0 <= temperature <= 1.0:
        raise ValueError(f"temperature {temperature} is not within 0 and 1")
    present = {language: num_bytes for language, num_bytes in sorted(bytes_by_language.items()) if num_bytes}
    read_bytes = min(sample_bytes, sum(present.values()))
    scale = read_bytes / sum(num_bytes**temperature for num_bytes in present.values()) if present else 0.0
    return {language: min(100.0, scale * num_bytes ** (temperature - 1.0)) for language, num_bytes in present.items()}


def sample_copies(content_hash_N: NDArray[np.uint64], rate: float) -> NDArray[np.int64]:
    """Return int64 [N]: how often each document is read, `rate` times on average, chosen by content."""
    return np.int64(rate // 1.0) + sample_mask(content_hash_N, rate % 1.0).astype(np.int64)


def train_tokenizer(texts: Iterable[str], parameters: TrainParameters) -> Tokenizer:
    """Count the words of texts and train a tokenizer on them, see `train_on_words`."""
    counter = word_counter(parameters)
    column = pa.array(list(texts), pa.string())
    counter.add(column, np.ones(len(column), np.int64))
    return train_on_words(merged([counter.take()]), parameters)


def word_counter(parameters: TrainParameters) -> WordCounter:
    """Return what counts the words of texts for `train_on_words`."""
    return WordCounter(parameters.model, lowercase=_lowercase(parameters))


def _lowercase(parameters: TrainParameters) -> bool:
    return parameters.model == "wordpiece" if parameters.lowercase is None else parameters.lowercase


def train_on_words(words: Words, parameters: TrainParameters) -> Tokenizer:
    """Train a tokenizer; the same words give the same bytes, whatever their order.

    Args:
        words: as `word_counter` counts them.
        parameters: what to train.

    Returns:
        A tokenizer with the special tokens as ids 0 to 4 that puts [CLS] and [SEP] around a text or a pair.

    Raises:
        ValueError: the vocabulary is too small, or there is no word.
    """
    if parameters.vocab_size < MIN_VOCAB_SIZE:
        raise ValueError(f"vocab_size {parameters.vocab_size} is too small: at least {MIN_VOCAB_SIZE}")
    learn = {"wordpiece": _wordpiece_of, "bpe": _bpe_of, "unigram": _unigram_of}[parameters.model]
    tokenizer = Tokenizer(learn(words, parameters.vocab_size))
    normalizer, tokenizer.pre_tokenizer = steps_of(parameters.model, lowercase=_lowercase(parameters))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = _DECODERS[parameters.model]()
    # Byte-level BPE has the space in the word, so that of a gap belongs to the gap, as with RoBERTa and ModernBERT: a
    # space alone before it is what no model has ever seen there.
    takes_space = "[MASK]" if parameters.model == "bpe" else None
    tokenizer.add_special_tokens(
        [AddedToken(token, lstrip=token == takes_space, special=True) for token in SPECIAL_TOKENS]
    )
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    return _padded(tokenizer, parameters.pad_to)


def _padded(tokenizer: Tokenizer, multiple: int) -> Tokenizer:
    """Return the tokenizer with entries that no text becomes, so that the size of its vocabulary is a multiple."""
    description = json.loads(tokenizer.to_str())
    vocab = description["model"]["vocab"]  # entries, not added tokens: those would be found in a text that spells them
    size = len(vocab)
    names = [f"[unused{number}]" for number in range(-size % multiple)]
    if isinstance(vocab, dict):
        vocab |= {name: size + number for number, name in enumerate(names)}
    else:
        vocab += [[name, _NEVER] for name in names]
    assert len(vocab) % multiple == 0
    return Tokenizer.from_str(json.dumps(description))


_DECODERS: dict[str, Callable[[], Any]] = {
    "wordpiece": token_decoders.WordPiece,
    "bpe": token_decoders.ByteLevel,
    "unigram": token_decoders.Metaspace,
}


def _wordpiece_of(words: Words, vocab_size: int) -> Any:
    vocab = train_wordpiece(words, vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS)
    return models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100)  # noqa: S106


def _bpe_of(words: Words, vocab_size: int) -> Any:
    return models.BPE(*train_bpe(words, vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS))


def _unigram_of(words: Words, vocab_size: int) -> Any:
    num_pieces = vocab_size - len(SPECIAL_TOKENS)
    pieces = train_pieces(most_frequent(words), num_pieces=num_pieces, required=_SPELLING)
    vocab = [*((token, _NEVER) for token in SPECIAL_TOKENS), *((piece, min(score, 0.0)) for piece, score in pieces)]
    return models.Unigram(vocab, unk_id=SPECIAL_TOKENS.index("[UNK]"), byte_fallback=False)


def _wordpiece(vocab: dict[str, int], *, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = token_decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS if token in vocab])
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load a tokenizer from a local file or a directory, without its truncation and padding.

    Args:
        path: a `tokenizer.json`, a BERT `vocab.txt`, or a directory with one of them or with `vocab.json` and
            `merges.txt` (byte-level BPE: GPT-2, RoBERTa). Without `tokenizer.json`, `do_lower_case` and
            `add_prefix_space` are read from a `tokenizer_config.json` beside; a vocab.txt without it is cased if a
            token has a capital letter.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    candidates = [folder / name for name in ("tokenizer.json", "vocab.txt", "vocab.json")] if path.is_dir() else [path]
    found = next((file for file in candidates if file.is_file()), None)
    if found is None:
        expected = "tokenizer.json, vocab.txt, or vocab.json with merges.txt"
        raise ValueError(f"no tokenizer at {path}: expected {expected}, or a directory with them")
    try:
        config_path = folder / "tokenizer_config.json"
        config = json.loads(config_path.read_text("utf-8")) if config_path.is_file() else {}
        if found.suffix == ".txt":
            tokenizer = _load_vocab_txt(found, config)
        elif found.name == "vocab.json":
            tokenizer = _load_byte_level(found, config)
        else:
            tokenizer = Tokenizer.from_file(str(found))
    except Exception as error:  # tokenizers raises bare Exceptions
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"cannot read the tokenizer {found}: {first_line}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _load_vocab_txt(path: Path, config: dict[str, Any]) -> Tokenizer:
    lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    vocab = {line.removesuffix("\r"): number for number, line in enumerate(lines)}
    for token in ("[UNK]", "[CLS]", "[SEP]"):
        if token not in vocab:
            raise ValueError(f"not a BERT vocabulary, {token} is missing")
    cased = any(token != token.lower() for token in vocab if not token.startswith("["))
    tokenizer = _wordpiece(vocab, lowercase=bool(config.get("do_lower_case", not cased)))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    return tokenizer


def _load_byte_level(path: Path, config: dict[str, Any]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE.from_file(str(path), str(path.with_name("merges.txt"))))
    prefix = bool(config.get("add_prefix_space", False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = token_decoders.ByteLevel()
    names = ("<s>", "<pad>", "</s>", "<unk>", "<|endoftext|>", "<mask>")
    present = [name for name in names if tokenizer.token_to_id(name) is not None]
    tokenizer.add_special_tokens([AddedToken(name, lstrip=name == "<mask>", special=True) for name in present])
    vocab = tokenizer.get_vocab()
    if {"<s>", "</s>"} <= set(present):
        ends = (("</s>", vocab["</s>"]), ("<s>", vocab["<s>"]))
        tokenizer.post_processor = processors.RobertaProcessing(*ends, add_prefix_space=prefix)
    return tokenizer


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Return the ids of the special tokens under the names that BERT, RoBERTa, ModernBERT and their families use.

    Raises:
        ValueError: one is missing, as the mask token in a tokenizer made for a decoder.
    """
    vocab = tokenizer.get_vocab()
    return SpecialIds(**{role: vocab[token] for role, token in _special_tokens(tokenizer).items()})


def _special_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    vocab = tokenizer.get_vocab()
    present = {role: [name for name in names if name in vocab] for role, names in _ROLES.items()}
    missing = [f"{role} ({' or '.join(_ROLES[role])})" for role, names in present.items() if not names]
    if missing:
        raise ValueError(f"the tokenizer lacks special tokens of a masked language model: {', '.join(missing)}")
    return {role: names[0] for role, names in present.items()}


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """Return 32 hex digits (XXH3-128 of its JSON) that change with anything that can change an id."""
    return xxhash.xxh3_128_hexdigest(tokenizer.to_str().encode())


def tokenizer_files(tokenizer: Tokenizer, *, seq_length: int) -> dict[str, str]:
    """Return, by name, the text of the files from which `transformers.AutoTokenizer.from_pretrained` loads it.

    Args:
        tokenizer: one with all special tokens.
        seq_length: written as `model_max_length`.
    """
    tokens = {f"{role}_token": token for role, token in _special_tokens(tokenizer).items()}
    config = {
        # Loads tokenizer.json as it is; a class of one model family would rebuild it from the vocabulary.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": seq_length,
        "model_input_names": ["input_ids", "attention_mask"],  # ModernBERT's forward takes no token_type_ids
        "clean_up_tokenization_spaces": False,
        **tokens,
    }
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
        "special_tokens_map.json": json.dumps(tokens, indent=2) + "\n",
    }


def save_tokenizer(tokenizer: Tokenizer, directory: str | Path, *, seq_length: int) -> None:
    """Write `tokenizer_files` into a local directory, which is made if absent."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in tokenizer_files(tokenizer, seq_length=seq_length).items():
        (directory / name).write_text(text, "utf-8")
