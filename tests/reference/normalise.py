"""Slow twin of transforms.kernels.normalise: the same rules as regular expressions over str."""

import re

LINE_END = re.compile("\r\n|[\n\v\f\r\x85\u2028\u2029]")
GONE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\ufeff]")
SPACE = "\t \xa0\u1680\u2000-\u200a\u202f\u205f\u3000"


def clean(text: str) -> str:
    text = GONE.sub("", LINE_END.sub("\n", text))
    text = re.sub(f"[{SPACE}]+(?=\n)", "", text)
    text = re.sub("\n{3,}", "\n\n", text)
    return text.strip(
        " \t\n\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
    )
