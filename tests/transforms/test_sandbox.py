"""transforms.sandbox: whatever a parser does costs its document only."""

import os
import select
import signal
import subprocess
import sys
import time

import pytest

from transforms import sandbox
from transforms.sandbox import DOCUMENT_BYTES, Document, Refusal, Sandbox, borrowed

PARSER = "tests.transforms.misbehaving:misbehave"


@pytest.fixture
def parser():
    made = Sandbox(PARSER, seconds=0.3)
    yield made
    made.close()


def texts(parser, *contents, hint=""):
    parser.submit([Document(content, hint) for content in contents])
    return [text.decode() if isinstance(text, bytes) else text for text in parser.collect()]


def test_texts_in_order(parser):
    """Every document gets its text, with its hint, over many batches and any sizes."""
    parser.submit([Document(b"a", "h\u00e9"), Document(b""), Document(b"\xc3\xa9")])
    assert parser.busy
    assert parser.collect() == ["a/1/h\u00e9".encode(), b"/0/", "\u00e9/2/".encode()]
    assert not parser.busy
    assert texts(parser) == []
    large = [b"%d " % number + b"x" * 3_000_000 for number in range(9)]  # more than the shared memory holds
    assert texts(parser, *large, hint="h") == [f"{number} {'x' * 18}/3000002/h" for number in range(9)]


def test_longest_document(parser):
    """A document at the limit fits, with a hint; one above it is a mistake of ours."""
    (text,) = texts(parser, b"x" * DOCUMENT_BYTES, hint="h" * 1000)
    assert text.startswith("xx")
    with pytest.raises(AssertionError, match=f"{DOCUMENT_BYTES + 1} bytes"):
        parser.submit([Document(b"x" * (DOCUMENT_BYTES + 1))])


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"hang", Refusal("extract_timeout", 0.3, 0.3)),
        (b"crash", Refusal("extract_crashed", signal.SIGSEGV)),
        (b"exit", Refusal("extract_crashed", -7)),
        (b"eat", Refusal("extract_failed")),
        (b"refuse", Refusal("too_sad", 3, 4.5)),
        (b"surrogate", "?"),
    ],
)
def test_what_goes_wrong_costs_one_document(parser, content, refusal):
    """Those before and behind get their texts, at the beginning, in the middle and at the end of a batch."""
    assert texts(parser, content, b"a", content, b"b", content) == [refusal, "a/1/", refusal, "b/1/", refusal]
    assert texts(parser, b"c") == ["c/1/"]


def test_what_a_parser_prints_is_no_reply(parser):
    """Output of a library goes nowhere."""
    assert texts(parser, b"print", b"a") == ["print/5/", "a/1/"]
    assert select.select([parser._child.stdout], [], [], 0)[0] == []


def test_texts_that_fill_the_shared_memory(parser):
    """Texts that do not fit together come in turns; one that never fits is refused."""
    half = sandbox._OUTPUT_BYTES // 2
    parser._seconds = 10
    found = texts(parser, b"grow %d" % half, b"grow %d" % half, b"a", b"grow %d" % (2 * half), b"b")
    assert [len(text) if isinstance(text, str) else text for text in found] == [
        half, half, 4, Refusal("text_too_large", 2 * half, sandbox._OUTPUT_BYTES), 4,
    ]  # fmt: skip


def test_time_of_one_document_is_not_charged_to_the_next(parser):
    """The limit is for each document: a hundred that take a part of it pass."""
    parser.submit([Document(b"grow 4000000")] * 100)
    assert all(isinstance(text, bytes) for text in parser.collect())


def test_a_parser_that_is_not_there():
    """A child that cannot import its parser is an error, not a refusal of every document."""
    made = Sandbox("transforms.nowhere:parse", seconds=1)
    with pytest.raises(RuntimeError, match="transforms.nowhere:parse does not start"):
        made.submit([Document(b"a")])
    made.close()


def test_borrowed_sandboxes_are_used_again():
    """One that comes back idle is lent again, two at once are two, and one that is left busy is closed."""
    with borrowed(PARSER, seconds=5) as first, borrowed(PARSER, seconds=5) as second:
        assert first is not second
        assert texts(first, b"a") == texts(second, b"a") == ["a/1/"]
    with borrowed(PARSER, seconds=5) as third:
        assert third is first or third is second
        child = third._child
        third.submit([Document(b"a")])
    assert child.poll() is not None
    with borrowed(PARSER, seconds=5) as fourth:
        assert fourth is not third


def test_children_die_with_their_parent():
    """A child whose parent is killed ends: at once if idle, and after its seconds if it hangs."""
    program = (
        "import os, signal\n"
        "from transforms.sandbox import Document, Sandbox\n"
        f"idle, busy = Sandbox({PARSER!r}, seconds=0.5), Sandbox({PARSER!r}, seconds=0.5)\n"
        "idle.submit([Document(b'a')]); idle.collect(); busy.submit([Document(b'hang')])\n"
        "print(idle._child.pid, busy._child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{pid}") and "Z" not in _state(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_interrupt_leaves_the_child_alone(parser):
    """Ctrl-C reaches the whole process group; ending the child is for its parent."""
    assert texts(parser, b"a") == ["a/1/"]
    os.kill(parser._child.pid, signal.SIGINT)
    assert texts(parser, b"b") == ["b/1/"]
