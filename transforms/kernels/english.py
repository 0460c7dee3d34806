"""English contractions and abbreviations: the runs of characters that split, or stay whole, by list.

The behaviour is that of spaCy's blank `en` tokeniser, on whose tokens the Gopher and FineWeb rules are defined.
"""

from itertools import product

_NEVER = {
    "Ill", "ill", "Its", "its", "Hell", "hell", "Shell", "shell", "Shed", "shed", "were", "Were", "Well", "well",
    "Whore", "whore",
}  # fmt: skip

# Word, and the endings that split off; each with and without its apostrophe, and with a capital.
_ENDINGS = {
    "i": "'m 'm|a 'll 'll|'ve 'd 'd|'ve 've",
    "you": "'ll 'll|'ve 'd 'd|'ve 've 're",
    "he she it": "'ll 'll|'ve 'd 'd|'ve 's",
    "we they": "'ll 'll|'ve 'd 'd|'ve 've 're",
    "who what when where why how there": "'s 'll 'll|'ve 're 've 'd 'd|'ve",
    "that this": "'s 'll 'll|'ve 'd 'd|'ve",
    "these those": "'ll 'll|'ve 're 've 'd 'd|'ve",
    "ca do does did had may need ought sha wo": "n't n't|'ve",
    "could might must should would": "n't n't|'ve 've",
    "ai are is was were have has dare": "n't",
    "not": "'ve",
}

_SPLIT = (
    "can|not Can|not gon|na Gon|na got|ta Got|ta let|'s Let|'s c'm|on C'm|on y'|all y|all how|'d|'y How|'d|'y "
    + " ".join(f"\xb0|{letter}|." for letter in "cfkCFK")
    + " "
    + " ".join(f"{hour}|{half}" for hour, half in product(range(1, 13), ("a.m.", "am", "p.m.", "pm")))
)

_WHOLE = (
    # clipped words, and marks that stay whole
    "'em em 'll ll 'nuff nuff 'S 's \u2018S \u2018s 're 'd 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout "
    "ma'am Ma'am o'clock O'clock and/or w/o ' '' \\\") <space> C++ \\t \\n \u2014 "
    # abbreviations
    "a.m. p.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. "
    "Messrs. Mo. Mont. Mr. Mrs. Ms. Mt. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s. "
    # months and states
    "Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. Ak. Ala. Ariz. Ark. Calif. Colo. Conn. Del. "
    "Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. "
    "Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis. "
    # emoticons
    ":) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( "
    ":-( :(( :-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O "
    ":-O :o :-o :0 :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D "
    "^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o "
    "0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (\xac_\xac) \u0ca0_\u0ca0 "
    "\u0ca0\ufe35\u0ca0 (\u0ca0_\u0ca0) \xaf\\(\u30c4)/\xaf "
    "(\u256f\xb0\u25a1\xb0\uff09\u256f\ufe35\u253b\u2501\u253b ><(((*>"
)


def _capitals(word: str) -> tuple[str, str]:
    return word, word[0].upper() + word[1:]


def _exceptions() -> dict[str, tuple[str, ...]]:
    splits: list[tuple[str, ...]] = [tuple(entry.split("|")) for entry in _SPLIT.split(" ")]
    for words, endings in _ENDINGS.items():
        for word, ending in product(words.split(), endings.split()):
            for first, mark in product(_capitals(word), ("'", "")):
                splits.append((first, *ending.replace("'", mark).split("|")))
    whole = [*_WHOLE.split(" "), *(f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz\xe4\xf6\xfc")]
    for clipped, mark in product(("doin", "goin", "nothin", "nuthin", "ol", "somethin", "lovin", "havin"), ("'", "")):
        whole += [word + mark for word in _capitals(clipped)]
    table = {"".join(pieces): pieces for pieces in splits} | {word: (word,) for word in whole}
    table = {chunk: pieces for chunk, pieces in table.items() if chunk not in _NEVER}
    curly = {chunk.replace("'", "\u2019"): tuple(p.replace("'", "\u2019") for p in table[chunk]) for chunk in table}
    return curly | table


EXCEPTIONS = _exceptions()  # chunk -> its tokens
