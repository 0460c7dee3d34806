"""A child process for parsers of hostile documents: one that hangs, crashes or eats memory costs its document only.

No thread and no signal handler of Python can stop native code, so the kernel does: the child arms a timer of processor
time before each document and leaves SIGPROF its default, which is to end the process, even where the parent has died.
Documents and texts cross in shared memory, a batch at a time, and the parent reads on while the child works.
"""

import atexit
import contextlib
import importlib
import json
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

DOCUMENT_BYTES = 8 << 20  # of the longest document
_INPUT_BYTES = DOCUMENT_BYTES + (64 << 10)
_OUTPUT_BYTES = 3 * DOCUMENT_BYTES + (64 << 10)  # a byte of a legacy encoding can be three of UTF-8
_MEMORY_BYTES = 3 << 30  # of address space; some nested documents take 230 times their size in resiliparse
_BATCH = struct.Struct("=qq")  # documents in the batch, results of it so far
_PAIR = struct.Struct("=qq")  # of a document: bytes of hint, bytes of document; of a result: 1 if a text, bytes
_PAGE = 4096  # where the documents begin
_RESULTS = _PAGE + _INPUT_BYTES  # where the results begin
_SHARED_BYTES = _RESULTS + _OUTPUT_BYTES


class Refusal(NamedTuple):
    """Why a document has no text: the columns of a verdict."""

    rule: str
    value: float | None = None
    threshold: float | None = None


class Document(NamedTuple):
    """What a parser is given. The hint is what is known of the document elsewhere, such as its encoding."""

    content: bytes
    hint: str = ""


Parser = Callable[[bytes, str], "str | Refusal"]


class Sandbox:
    """Runs a parser in a child process: `submit` some documents, read on, `collect` their texts.

    Args:
        parser: `module:function` of a Parser; the child imports nothing else.
        seconds: processor time that one document may take.
    """

    def __init__(self, parser: str, *, seconds: float) -> None:
        self._parser = parser
        self._seconds = seconds
        self._file = _shared_file()
        self._shared = mmap.mmap(self._file, _SHARED_BYTES)
        self._child: subprocess.Popen[bytes] | None = None
        self._documents: Sequence[Document] = ()
        self._num_submitted = 0

    @property
    def busy(self) -> bool:
        """True between `submit` and `collect`."""
        return bool(self._documents)

    def submit(self, documents: Sequence[Document]) -> None:
        """Give documents to the child, none longer than DOCUMENT_BYTES, and return at once."""
        assert not self.busy, "collect first"
        longest = max((len(document.content) for document in documents), default=0)
        assert longest <= DOCUMENT_BYTES, f"a document of {longest} bytes; at most {DOCUMENT_BYTES} fit"
        self._documents = documents
        if documents:
            self._send(0)

    def collect(self) -> list[bytes | Refusal]:
        """Wait for the submitted documents; return a text in UTF-8 or a refusal for each, in order.

        Refusals, beside those of the parser: `extract_timeout` (value, threshold: seconds), `extract_crashed` (value:
        the signal that ended the child), `extract_failed` (the parser raised), `text_too_large` (value, threshold:
        bytes).
        """
        results: list[bytes | Refusal] = []
        while len(results) < len(self._documents):
            alive = self._reply()
            results += self._results()
            if not alive:
                results.append(self._cause_of_death())
            if len(results) < len(self._documents):
                self._send(len(results))
        self._documents = ()
        return results

    def close(self) -> None:
        """End the child; the sandbox cannot be used again."""
        self._end(kill=True)
        self._shared.close()
        os.close(self._file)

    def _send(self, first: int) -> None:
        """Write the documents from `first` on that fit, and wake the child."""
        child = self._child or self._start()
        at = _PAGE
        count = 0
        for content, hint in self._documents[first:]:
            encoded = hint.encode()
            end = at + _PAIR.size + len(encoded) + len(content)
            if end > _RESULTS:
                break
            _PAIR.pack_into(self._shared, at, len(encoded), len(content))
            self._shared[at + _PAIR.size : end - len(content)] = encoded
            self._shared[end - len(content) : end] = content
            at = end
            count += 1
        assert count, "a hint that does not fit beside its document"
        self._num_submitted = count
        _BATCH.pack_into(self._shared, 0, count, 0)
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died since; `_reply` will see it
            child.stdin.write(b"!")

    def _reply(self) -> bool:
        assert self._child is not None
        assert self._child.stdout is not None
        return self._child.stdout.read(1) == b"!"

    def _results(self) -> list[bytes | Refusal]:
        _, count = _BATCH.unpack_from(self._shared, 0)
        found: list[bytes | Refusal] = []
        at = _RESULTS
        for _ in range(count):
            is_text, num_bytes = _PAIR.unpack_from(self._shared, at)
            at += _PAIR.size
            content = self._shared[at : at + num_bytes]
            found.append(content if is_text else Refusal(*json.loads(content)))
            at += num_bytes
        return found

    def _start(self) -> subprocess.Popen[bytes]:
        program = f"from transforms.sandbox import serve; serve({self._file}, {self._parser!r}, {self._seconds})"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._child = subprocess.Popen(
            [sys.executable, "-c", program],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a crash leaves a few lines there, and pages decide how often
            pass_fds=[self._file],
            env=environment,
        )
        if not self._reply():
            self._end(kill=True)
            raise RuntimeError(f"the child process for {self._parser} does not start")
        return self._child

    def _cause_of_death(self) -> Refusal:
        code = self._end(kill=False)
        if code == -signal.SIGPROF:
            return Refusal("extract_timeout", self._seconds, self._seconds)
        return Refusal("extract_crashed", float(-code))

    def _end(self, *, kill: bool) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        if kill:
            child.kill()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()
        return child.wait()


def _shared_file() -> int:
    """Return a file of _SHARED_BYTES without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("gristmill-sandbox", 0)
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    os.truncate(file, _SHARED_BYTES)
    return file


_Key = tuple[str, float]
_idle: dict[_Key, list[Sandbox]] = {}  # a start costs 0.1 s, and a unit may be a thousand small files


@contextlib.contextmanager
def borrowed(parser: str, *, seconds: float) -> Iterator[Sandbox]:
    """Lend a sandbox for the parser, idle or new; it comes back idle unless it is still busy."""
    idle = _idle.setdefault((parser, seconds), [])
    try:
        sandbox = idle.pop()
    except IndexError:
        sandbox = Sandbox(parser, seconds=seconds)
    try:
        yield sandbox
    finally:
        if sandbox.busy:
            sandbox.close()
        else:
            idle.append(sandbox)


@atexit.register
def _close_idle() -> None:
    for sandboxes in _idle.values():
        while sandboxes:
            sandboxes.pop().close()


def serve(file: int, parser: str, seconds: float) -> None:
    """Be the child: parse each batch that the parent announces on standard input, until it closes that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us when it ends
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.dup(1)
    os.dup2(2, 1)  # what a parser prints is no reply
    module, _, name = parser.partition(":")
    parse: Parser = getattr(importlib.import_module(module), name)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    shared = mmap.mmap(file, _SHARED_BYTES)
    os.write(replies, b"!")
    while os.read(0, 1):
        _parse_batch(parse, shared, seconds)
        os.write(replies, b"!")


def _parse_batch(parse: Parser, shared: mmap.mmap, seconds: float) -> None:
    """Write results, and after each their number, so that they outlive us; stop where they are full."""
    count, _ = _BATCH.unpack_from(shared, 0)
    at, out = _PAGE, _RESULTS
    for number in range(count):
        hint_bytes, content_bytes = _PAIR.unpack_from(shared, at)
        at += _PAIR.size
        hint = shared[at : at + hint_bytes].decode()
        at += hint_bytes + content_bytes
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            result = parse(shared[at - content_bytes : at], hint)
            is_text = isinstance(result, str)
            content = result.encode("utf-8", "replace") if isinstance(result, str) else json.dumps(result).encode()
        except Exception:  # noqa: BLE001  # whatever a parser raises costs its document
            is_text, content = False, json.dumps(["extract_failed"]).encode()
        if len(content) > _OUTPUT_BYTES - _PAIR.size:
            is_text, content = False, json.dumps(["text_too_large", len(content), _OUTPUT_BYTES]).encode()
        if out + _PAIR.size + len(content) > _SHARED_BYTES:
            return
        _PAIR.pack_into(shared, out, is_text, len(content))
        out += _PAIR.size
        shared[out : out + len(content)] = content
        out += len(content)
        _BATCH.pack_into(shared, 0, count, number + 1)
