"""The tokenizer: trained on a corpus, loaded from a file, saved for `transformers`. No Beam.

Shapes: N documents.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import decoders as token_decoders

from transforms.unigram_trainer import train_pieces

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
_CODE_POINTS = 0x110000
_COUNTED_AT_ONCE = 1 << 22  # characters; the table of counts has 1.1 million rows, so small pieces would cost only that
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

    model: Literal["wordpiece", "bpe", "unigram"] = "wordpiece"
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
    """Train a tokenizer; the same texts give the same bytes, whatever their order and the number of threads.

    Args:
        texts: read twice by `wordpiece`, so a list or another object that starts over, not an iterator. Only counts
            of words are held, not the texts.
        parameters: what to train.

    Returns:
        A tokenizer with the special tokens as ids 0 to 4 that puts [CLS] and [SEP] around a text or a pair.

    Raises:
        ValueError: the vocabulary is too small, or there is no text.
    """
    if parameters.vocab_size < MIN_VOCAB_SIZE:
        raise ValueError(f"vocab_size {parameters.vocab_size} is too small: at least {MIN_VOCAB_SIZE}")
    if parameters.model == "wordpiece":
        if isinstance(texts, Iterator):
            raise ValueError("texts can be read only once: give a list, or an object that starts over")
        tokenizer = _train_wordpiece(texts, parameters)
    elif parameters.model == "unigram":
        tokenizer = _train_unigram(texts, parameters)
    else:
        tokenizer = _train_bpe(texts, parameters)
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


def _train_unigram(texts: Iterable[str], parameters: TrainParameters) -> Tokenizer:
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if parameters.lowercase else [])]
    normalizer = normalizers.Sequence(steps)
    words: Counter[str] = Counter()
    for text in texts:
        words.update(normalizer.normalize_str(text).split())
    num_pieces = parameters.vocab_size - len(SPECIAL_TOKENS)
    pieces = train_pieces(words, num_pieces=num_pieces, required=_SPELLING)
    vocab = [*((token, _NEVER) for token in SPECIAL_TOKENS), *((piece, min(score, 0.0)) for piece, score in pieces)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=SPECIAL_TOKENS.index("[UNK]"), byte_fallback=False))
    tokenizer.normalizer = normalizer
    # Blanks alone part words for Metaspace.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = token_decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return tokenizer


def _train_bpe(texts: Iterable[str], parameters: TrainParameters) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if parameters.lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = token_decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=parameters.vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _train_wordpiece(texts: Iterable[str], parameters: TrainParameters) -> Tokenizer:
    # Left alone, the trainer numbers "##x" in the order of a randomly seeded hash map, and breaks ties between merges
    # by those numbers: six runs gave six vocabularies (tokenizers 0.23.3, issue 1794 there). Symbols named as special
    # tokens are numbered first and in order, so naming them all leaves nothing to chance. The added tokens that this
    # makes are dropped with the tokenizer that was trained: only its vocabulary is kept.
    lowercase = parameters.lowercase is not False
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    initial, inside = _symbols(texts, normalizer, pre_tokenizer, limit=parameters.vocab_size // 2)
    if not initial:
        raise ValueError("no text to train a tokenizer on")
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    learner.normalizer = normalizer
    learner.pre_tokenizer = pre_tokenizer
    trainer = trainers.WordPieceTrainer(
        vocab_size=parameters.vocab_size,
        min_frequency=2,
        special_tokens=[*SPECIAL_TOKENS, *initial, *(f"##{symbol}" for symbol in inside)],
        initial_alphabet=initial,
        limit_alphabet=len(initial),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    return _wordpiece(learner.get_vocab(with_added_tokens=False), lowercase=lowercase)


def _wordpiece(vocab: dict[str, int], *, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = token_decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS if token in vocab])
    return tokenizer


def _symbols(texts: Iterable[str], normalizer: Any, pre_tokenizer: Any, *, limit: int) -> tuple[list[str], list[str]]:
    """Return the characters to learn from and those of them that occur inside a word, each list sorted.

    The most frequent characters are kept until they cover 99.98% of the text, or until they and their "##" forms fill
    `limit` tokens. Every character would be 1989 tokens for 3 MB of Chinese documentation and 838 for Perl's manual, of
    which this keeps 1693 and 254; a fixed 1000 (the habit of BERT's training script) is too few for Chinese.
    """
    num_seen_C = np.zeros(_CODE_POINTS, np.int64)
    num_inside_C = np.zeros(_CODE_POINTS, np.int64)
    is_word_C = np.zeros(_CODE_POINTS, np.bool_)
    for text in _joined(texts):
        code_M = np.frombuffer(normalizer.normalize_str(text).encode("utf-32-le"), np.uint32)
        counts_C = np.bincount(code_M, minlength=_CODE_POINTS)
        for code in np.flatnonzero((counts_C > 0) & (num_seen_C == 0)).tolist():
            is_word_C[code] = len(pre_tokenizer.pre_tokenize_str(f"a{chr(code)}a")) == 1
        num_seen_C += counts_C
        in_word_M = is_word_C[code_M]
        num_inside_C += np.bincount(code_M[1:][in_word_M[1:] & in_word_M[:-1]], minlength=_CODE_POINTS)
    for code in np.flatnonzero(num_seen_C).tolist():
        if chr(code).isspace():
            num_seen_C[code] = 0
    kept = np.argsort(-num_seen_C, kind="stable")[: np.count_nonzero(num_seen_C)]
    covered = np.cumsum(num_seen_C[kept])
    num_tokens = np.cumsum(1 + (num_inside_C[kept] > 0))
    before = np.concatenate([[0], covered[:-1]]) if len(kept) else covered
    kept = np.sort(kept[(before < 0.9998 * covered[-1:]) & (num_tokens <= limit)])
    return [chr(code) for code in kept.tolist()], [chr(code) for code in kept[num_inside_C[kept] > 0].tolist()]


def _joined(texts: Iterable[str]) -> Iterator[str]:
    part: list[str] = []
    size = 0
    for text in texts:
        part.append(text)
        size += len(text) + 1
        if size >= _COUNTED_AT_ONCE:
            yield "\n".join(part)
            part, size = [], 0
    if part:
        yield "\n".join(part)


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
