"""An HTTP server of this machine for tests: answers by a function, notes what was asked, counts what it sent."""

import re
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = tuple[int, dict[str, str], bytes | Iterable[bytes]]  # status, headers, content


class Served:
    """Serves until closed.

    Args:
        answer: of method, path without the query, and body.

    Attributes:
        asked: "GET /path" of each request.
        sent: bytes of content so far.
    """

    def __init__(self, answer: Callable[[str, str, bytes], Answer]) -> None:
        self.asked: list[str] = []
        self.sent = 0
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                path = self.path.partition("?")[0]
                served.asked.append(f"{self.command} {path}")
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                served.send(self, *answer(self.command, path, body))

            do_HEAD = do_POST = do_PUT = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def send(self, request, status, headers, content):
        pieces = content
        if isinstance(content, bytes):
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
            if asked and status == 200:
                start, stop = int(asked[1]), min(int(asked[2] or len(content)) + 1, len(content))
                headers |= {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
                status, content = 206, content[start:stop]
            headers |= {"Content-Length": str(len(content)), "Accept-Ranges": "bytes"}
            pieces = [content]
        elif "Content-Length" not in headers:
            request.close_connection = True
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        try:
            for piece in pieces if request.command != "HEAD" else ():
                request.wfile.write(piece)
                self.sent += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            request.close_connection = True

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def folder(path: Path) -> Callable[[str, str, bytes], Answer]:
    """Answers with the files of a folder."""

    def answer(_method, name, _body):
        file = path / name.lstrip("/")
        return (200, {}, file.read_bytes()) if file.is_file() else (404, {}, b"")

    return answer
