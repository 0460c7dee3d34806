"""Stop words taken out of texts, for those who count words: bag-of-words models, topic models, classic search.

Not for language models, which learn grammar from them. Whole words go, in any case, with the spaces behind them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from transforms.kernels.phrases import Phrases, compiled, remove_words
from transforms.kernels.pii_classes import word_table
from transforms.kernels.strings import string_array, string_views
from transforms.schema import alive_mask, count_edits, set_column
from transforms.word_lists import read_list

# Words of grammar alone: articles, pronouns, prepositions, conjunctions, auxiliaries.
LISTS = {
    "en": (
        "a about above after again against all am an and any are as at be because been before being below between"
        " both but by can could did do does doing down during each few for from further had has have having he her"
        " here hers herself him himself his how i if in into is it its itself just me more most my myself no nor not"
        " now of off on once only or other our ours ourselves out over own same she should so some such than that the"
        " their theirs them themselves then there these they this those through to too under until up very was we were"
        " what when where which while who whom why will with would you your yours yourself yourselves"
    ),
    "de": (
        "ab aber alle allem allen aller alles als also am an andere anderen anderer auch auf aus bei beim bin bis"
        " bist da damit dann das dass dein deine dem den denn der des dessen die dies diese diesem diesen dieser"
        " dieses doch dort du durch ein eine einem einen einer eines er es etwas euch euer f\xfcr gegen hab habe haben"
        " hat hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja jede jedem"
        " jeden jeder jedes jene kann kein keine keinem keinen keiner k\xf6nnen man mein meine mich mir mit muss"
        " m\xfcssen nach nicht noch nun nur ob oder ohne sehr sein seine seinem seinen seiner seit sich sie sind so"
        " soll sollen sondern um und uns unser unsere unter vom von vor war waren was weil wenn wer werde werden wie"
        " wieder will wir wird wo wurde wurden zu zum zur zwischen \xfcber"
    ),
    "es": (
        "a al algo ante antes as\xed aunque cada como con contra cual cuando de del desde donde durante e el ella"
        " ellas ellos en entre era eran es esa esas ese eso esos esta estaba estas este esto estos est\xe1 est\xe1n"
        " fue fueron ha han hasta hay la las le les lo los me mi mis muy m\xe1s ni no nos nosotros o otra otro para"
        " pero por porque que qui\xe9n se sea ser si sin sobre son su sus s\xed tambi\xe9n tan te tiene toda todas"
        " todo todos tu tus un una unas uno unos y ya yo \xe9l"
    ),
    "fr": (
        "a afin ai au aucun aux avait avant avec ayant c ce cela ces cet cette ceux chez comme d dans de depuis des"
        " dont du elle elles en entre est et eux fut il ils j je l la laquelle le lequel les leur leurs lui m ma mais"
        " me mes moi mon m\xeame n ne ni nos notre nous on ont ou o\xf9 par pas pendant plus pour qu que quel quelle"
        " qui s sa sans se selon ses si soi son sont sous sur t ta te tes toi ton tous tout toute toutes tu un une"
        " vers vos votre vous y \xe0 \xe9taient \xe9tait \xeatre"
    ),
}


def is_path(words: str) -> bool:
    """Whether `words` is the path of a list, and not a language that has one here."""
    return words not in LISTS


@dataclass(frozen=True, kw_only=True)
class RemoveStopWords:
    """Takes words out of the texts of living documents and counts them as edits; a function of a batch.

    Args:
        words: a language of LISTS, or the path of a list.
    """

    words: str

    @cached_property
    def _list(self) -> Phrases:
        """The list; read when the first batch comes, so that it is not pickled."""
        return compiled(read_list(self.words) if is_path(self.words) else LISTS[self.words].split())

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        offsets_N1, text = string_views(batch.column("text"))
        out_offsets_N1 = np.empty_like(offsets_N1)
        out_M = np.empty(int(offsets_N1[-1]) - int(offsets_N1[0]), np.uint8)
        removed_N = np.zeros(batch.num_rows, np.int32)
        symbols_C, trie_S3 = self._list
        written = (out_offsets_N1, out_M, removed_N)
        remove_words(offsets_N1, text, ~alive_mask(batch), symbols_C, trie_S3, word_table(), *written)
        batch = set_column(batch, "text", string_array(out_offsets_N1, out_M[: out_offsets_N1[-1]]))
        return count_edits(batch, {"stop_words": removed_N})
