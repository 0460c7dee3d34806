"""Web servers on loopback: one that serves ranges of files, and one that says no."""

import contextlib
import http.server
import re
import threading
from pathlib import Path


@contextlib.contextmanager
def served(handler):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


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
