"""A parser for tests of the sandbox that does what its document says."""

import os
import signal

from transforms.sandbox import Refusal


def misbehave(content: bytes, hint: str) -> str | Refusal:
    match content.partition(b" ")[0]:
        case b"hang":
            while True:
                pass
        case b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"eat":
            bytearray(4 << 30)
        case b"exit":
            os._exit(7)
        case b"print":
            print("!" * 100_000, flush=True)
        case b"refuse":
            return Refusal("too_sad", 3, 4.5)
        case b"surrogate":
            return "\ud800"
        case b"grow":
            return "x" * int(content.split()[1])
    return f"{content[:20].decode()}/{len(content)}/{hint}"
