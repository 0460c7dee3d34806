"""Web servers on loopback: one that serves ranges of files, some that do not, and one that answers as the hub does."""

import contextlib
import gzip
import http.server
import io
import json
import re
import socket
import struct
import threading
from pathlib import Path


@contextlib.contextmanager
def served(handler):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))  # s until it sees that it shall end
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:  # a test that fails would else wait for it for ever
            server.shutdown()
            thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class NoRanges(Quiet):
    """Says that it sends whole files only."""

    def end_headers(self):
        self.send_header("Accept-Ranges", "none")
        super().end_headers()


class Ranges(Quiet):
    """Serves the range that it is asked for."""

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        data = (Path(self.directory) / self.path[1:]).read_bytes()
        start, stop = int(asked[1]) if asked else 0, int(asked[2]) + 1 if asked and asked[2] else len(data)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{min(stop, len(data)) - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data[start:stop])))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[start:stop])

    do_HEAD = do_GET


class Odd(Ranges):
    """Answers a request for a range in one of the ways in which servers get it wrong, and one for the file rightly."""

    odd = ""

    def do_GET(self):
        data = (Path(self.directory) / self.path[1:]).read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, stop = (int(asked[1]), min(int(asked[2]) + 1, len(data))) if asked else (0, len(data))
        told, body, length = f"bytes {start}-{stop - 1}/{len(data)}", data[start:stop], True
        if self.odd == "from the beginning":
            told, body = f"bytes 0-{stop - start - 1}/{len(data)}", data[: stop - start]
        elif self.odd == "unlabelled":
            told, body = "", data[: stop - start]
        elif self.odd == "in other units":
            told = told.replace("bytes", "lines")
        elif self.odd == "compressed":
            body = gzip.compress(body)
        elif self.odd == "whole, of no length":
            asked, length = None, False
        self.send_response(206 if asked else 200)
        if asked and told:
            self.send_header("Content-Range", told)
        if asked and self.odd == "compressed":
            self.send_header("Content-Encoding", "gzip")
        if length:
            self.send_header("Content-Length", str(len(body if asked else data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body if asked else data)

    do_HEAD = do_GET


def odd(way):
    return type("OddInOneWay", (Odd,), {"odd": way})


def sending(num_bytes):
    """A handler that sends so many bytes of the file, whatever range from there on it is asked for."""

    class Handler(Ranges):
        def do_GET(self):
            if asked := self.headers.get("Range"):
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                stop = min(start + num_bytes, (Path(self.directory) / self.path[1:]).stat().st_size)
                self.headers.replace_header("Range", f"bytes={start}-{stop - 1}")
            super().do_GET()

    return Handler


def forgetful(asked, *, remembers):
    """A handler that appends to `asked` what range each request names, and looks at it in some of them, by number."""

    class Handler(Ranges):
        def do_GET(self):
            asked.append(self.headers["Range"])
            if len(asked) not in remembers:
                del self.headers["Range"]
            super().do_GET()

        do_HEAD = Quiet.do_HEAD

    return Handler


def breaking(asked, failing, *, tells_length=True, waits_for=None):
    """A handler without ranges that closes the connection after `failing[number of the request]` bytes of the file.

    It does so when the event that it waits for has come.
    """

    class Handler(Quiet):
        def do_GET(self):
            asked.append(self.headers.get("Range"))
            path = Path(self.directory) / self.path[1:]
            data, number = path.read_bytes(), len(asked)
            self.send_response(200)
            self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
            if tells_length:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: failing.get(number)])
            if number in failing and waits_for is not None:
                waits_for.wait()

    return Handler


def answering(status, body=b"", *, after=None):
    """A handler that answers every request with one status, or from request `after` on, and as usual before."""
    counted = []

    class Handler(Ranges):
        def do_GET(self):
            counted.append(self.path)
            if after is not None and len(counted) <= after:
                super().do_GET()
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

    return Handler


def stumbling(asked, failing):
    """A handler that serves ranges, but what `failing` names by the number of its request: a status, or no answer."""

    class Handler(Ranges):
        def do_GET(self):
            asked.append(self.command)
            status = failing.get(len(asked))
            if status is None:
                super().do_GET()
            elif status:
                self.send_error(status)
            else:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                self.rfile, self.wfile = io.BytesIO(), io.BytesIO()

        do_HEAD = do_GET

    return Handler


def counting(asked):
    """A handler that serves ranges and appends to `asked` how many bytes each has."""

    class Handler(Ranges):
        def do_GET(self):
            if self.command == "GET":
                start, stop = self.headers["Range"].removeprefix("bytes=").split("-")
                asked.append(int(stop) + 1 - int(start))
            super().do_GET()

        do_HEAD = do_GET

    return Handler


COMMIT = "c0ffee" + "0" * 34


class Hub(Ranges):
    """Answers what `huggingface_hub` asks about the dataset org/name, whose files are those of `directory`."""

    def do_GET(self):
        path, _, _ = self.path.partition("?")
        found = re.fullmatch(r"/api/datasets/org/name(?:/revision/([^/]+)|/tree/([^/]+)(?:/(.+))?)?", path)
        if found and found[2]:
            folder = Path(self.directory) / (found[3] or "")
            self.answer([self.entry(file) for file in sorted(folder.rglob("*"))] if folder.is_dir() else None)
        elif found:
            self.answer(
                {"id": "org/name", "sha": COMMIT, "siblings": []} if found[1] in (None, "main", COMMIT) else None
            )
        elif path.startswith(f"/datasets/org/name/resolve/{COMMIT}/"):
            self.path = path.removeprefix(f"/datasets/org/name/resolve/{COMMIT}")
            super().do_GET()
        else:
            self.answer(None)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        files = [Path(self.directory) / path for path in asked["paths"]]
        self.answer([self.entry(file) for file in files if file.exists()])

    def do_HEAD(self):
        self.do_GET()

    def entry(self, file):
        kind = "directory" if file.is_dir() else "file"
        path = str(file.relative_to(self.directory))
        return {"type": kind, "path": path, "size": file.stat().st_size, "oid": f"{file.stat().st_mtime_ns:x}"}

    def answer(self, content):
        body = json.dumps({"error": "not here"} if content is None else content).encode()
        self.send_response(404 if content is None else 200)
        if content is None:
            kind = "Entry" if COMMIT in self.path else "Revision" if "/org/name" in self.path else "Repo"
            self.send_header("X-Error-Code", f"{kind}NotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
