"""The vocabulary as masking sees it: special tokens, and where words begin in each kind of tokenizer."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from pipeline.pretrain.masking import mask_rows
from pipeline.pretrain.rows import Rows, ShardMetadata
from pipeline.pretrain.vocabulary import read_vocabulary
from tests.pretrain.shards import IDS, SPECIAL, SPECIAL_IDS

ENGLISH = "the quick (brown) fox, which wasn't there, jumps over the lazy dogs"
CHINESE = "\u6211\u4eec\u5728\u5317\u4eac\u5b66\u4e60\uff0c\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002" * 3
THAI = "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22\u0e40\u0e1b\u0e47\u0e19\u0e20\u0e32\u0e29\u0e32" * 3


def test_vocabulary(out):
    """Special tokens are not maskable and never inserted; of WordPiece a prefix marks what continues a word."""
    vocabulary = read_vocabulary(Rows(out / "shards" / "train").metadata, out / "tokenizer" / "tokenizer.json")
    assert vocabulary.mask_id == 4
    assert vocabulary.maskable_V.tolist() == [False] * 5 + [True] * (len(IDS) - 5)
    assert vocabulary.random_R.tolist() == list(range(5, len(IDS)))
    assert [token for token, index in IDS.items() if not vocabulary.starts_word_V[index]] == ["##s", "##ed"]


def _tokenizer(kind, directory):
    """A tokenizer that knows English and Chinese, and its vocabulary; Thai is cut into bytes or unknown."""
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator([ENGLISH, CHINESE[:15]] * 20, trainer)
    else:
        characters = sorted(set(ENGLISH + CHINESE))
        pieces = [*SPECIAL, "\u2581", "\u2581the", "\u2581quick", CHINESE[:2], *characters]
        tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=1))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(directory / "tokenizer.json"))
    metadata = ShardMetadata(
        tokenizer_hash="", vocab_size=tokenizer.get_vocab_size(), seq_length=64, packing="best_fit", max_pieces=1,
        special_ids=SPECIAL_IDS,
    )  # fmt: skip
    return tokenizer, read_vocabulary(metadata, directory / "tokenizer.json")


def test_where_words_begin(tmp_path):
    """A space, punctuation, and each piece of a script without spaces begin a word; cut characters count as theirs."""
    tokenizer, vocabulary = _tokenizer("bytes", tmp_path)
    starts = {piece: bool(vocabulary.starts_word_V[index]) for piece, index in tokenizer.get_vocab().items()}
    assert starts["\u0120quick"]
    assert not starts["quick" if "quick" in starts else "q"]
    assert all(starts[piece] for piece in (",", ")", "'", "\u0120", "\u010a"))
    lead, middle = "\u00e6", "\u012a"  # of U+6211: 0xe6 0x88 0x91
    assert starts[lead]
    assert not starts[middle]
    assert not starts["\u00e1"]  # 0xe1 leads Vietnamese letters, too
    whole = [piece for piece in starts if piece.startswith(lead) and len(piece) >= 3]
    assert whole
    assert all(starts[piece] for piece in whole)


@pytest.mark.parametrize("kind", ["bytes", "unigram"])
@pytest.mark.parametrize("text", [ENGLISH, CHINESE, THAI, "ab" * 60], ids=["English", "Chinese", "Thai", "long"])
def test_every_script_is_masked(tmp_path, kind, text):
    """Whole words leave no row without predictions: one long word is several, and so is a text without spaces."""
    tokenizer, vocabulary = _tokenizer(kind, tmp_path)
    ids = [index for index in tokenizer.encode(text).ids if vocabulary.maskable_V[index]] * 126
    ids_BS = torch.tensor([[2, *ids[:126], 3]]).expand(100, -1)
    masked = mask_rows(ids_BS, torch.arange(100), seed=0, step=0, mask_rate=0.3, whole_word=True, vocabulary=vocabulary)
    predictions_B = masked.weight_BK.sum(1)
    quota = round(0.3 * 126)
    assert predictions_B.max() <= quota
    assert predictions_B.min() > quota - 16
    if text == CHINESE and kind == "unigram":  # each piece is a word
        assert predictions_B.min() == quota
