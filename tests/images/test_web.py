"""URLs lead to public hosts only, whatever redirects and names say, in bounded size and time; against a real
server."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from seit.errors import ImageError
from seit.images import open_source, web

DATA = b"\x89PNG" + bytes(range(256))


class Handler(BaseHTTPRequestHandler):
    """Answers by path."""

    fails = 0
    asked: list[str] = []

    def do_GET(self):
        type(self).asked.append(self.path)
        host = f"http://{self.headers['Host']}"
        match self.path:
            case "/1.png" | "/a%20b.png":
                self.answer(200, DATA)
            case "/moved":
                self.answer(302, b"", Location="/1.png")
            case "/loop":
                self.answer(302, b"", Location=f"{host}/loop")
            case "/to-file":
                self.answer(302, b"", Location="file:///etc/passwd")
            case "/inside":
                self.answer(302, b"", Location="http://10.255.255.1/1.png")
            case "/large":
                self.answer(200, bytes(5000))
            case "/endless":
                self.send_response(200)
                self.end_headers()
                self.pour(b"x" * 4096, 0)
            case "/drip" | "/drip-of-unknown-length":
                self.send_response(200)
                if self.path == "/drip":
                    self.send_header("Content-Length", "1000000")
                self.end_headers()
                self.pour(b"x", 0.05)
            case "/cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"short")
            case "/twice":
                type(self).fails += 1
                self.answer(503 if type(self).fails < 3 else 200, DATA)
            case _:
                self.answer(404, b"no")

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def pour(self, piece, pause):
        try:
            for _ in range(4000):
                self.wfile.write(piece)
                time.sleep(pause)
        except OSError:
            pass

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(web, "PAUSE", 0)
    Handler.fails, Handler.asked = 0, []


def refusal(url, **options):
    with pytest.raises(ImageError) as caught:
        web.fetch(url, private=True, **options)
    assert str(caught.value).startswith(url)
    return str(caught.value)


def test_a_url_and_a_redirect_give_the_body(server):
    assert web.fetch(f"{server}/1.png", private=True) == DATA
    assert web.fetch(f"{server}/moved", private=True) == DATA
    assert web.fetch(f"{server}/a b.png", private=True) == DATA


def test_a_failure_that_passes_is_tried_again(server):
    assert web.fetch(f"{server}/twice", private=True) == DATA
    assert Handler.asked == ["/twice"] * 3


def test_a_missing_image_is_not_asked_for_again(server):
    assert "the server answers 404; remove it from the list" in refusal(f"{server}/gone")
    assert Handler.asked == ["/gone"]


def test_endless_redirects_bodies_and_drips_end(server):
    assert "redirects more than 5 times" in refusal(f"{server}/loop")
    assert "larger than 1000 bytes" in refusal(f"{server}/large", largest=1000)
    assert "larger than 100000 bytes" in refusal(f"{server}/endless", largest=100_000)
    start = time.monotonic()
    assert "took too long" in refusal(f"{server}/drip", seconds=0.4)
    assert "took too long" in refusal(f"{server}/drip-of-unknown-length", seconds=0.4)
    assert time.monotonic() - start < 10  # three tries of 0.4 s


def test_a_body_that_is_cut_off_is_no_image(server):
    assert "broke off" in refusal(f"{server}/cut")


def test_a_redirect_to_another_protocol_is_refused(server):
    assert "file:///etc/passwd" in refusal(f"{server}/to-file")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "[::1]",
        "[fe80::1]",
        "[fc00::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "224.0.0.1",
        "2130706433",
        "0x7f.1",
    ],
)
def test_hosts_that_are_not_public_are_refused_before_anything_is_sent(host, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connects"))
    with pytest.raises(ImageError, match=r"no public host; give --allow-private-hosts|cannot be found"):
        web.fetch(f"http://{host}/1.png")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_pass(address):
    assert web._is_public(address)


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(server, monkeypatch):
    """A name that resolves to a public address first and to a private one later gets one chance only."""
    answers = [[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))]]
    reached = []

    def resolve(*_, **__):
        return answers.pop(0)

    def connect(_, address):
        reached.append(address)
        raise ConnectionRefusedError("as expected")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(web, "TRIES", 1)
    with pytest.raises(ImageError, match="does not answer"):
        web.fetch("http://rebinding.example/1.png")
    assert reached == [("8.8.8.8", 80)]


def test_a_host_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(ImageError, match=r"10\.0\.0\.1"):
        web.fetch("http://mixed.example/1.png")


def test_a_redirect_from_a_public_host_into_the_private_network_is_refused(server, monkeypatch):
    port = int(server.rpartition(":")[2])
    resolve = socket.getaddrinfo
    public = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: public if host == "public.example" else resolve(host, *a, **k)
    )
    checked = web._is_public
    monkeypatch.setattr(web, "_is_public", lambda address: address == "127.0.0.1" or checked(address))
    assert web.fetch(f"http://public.example:{port}/1.png") == DATA
    with pytest.raises(ImageError, match=r"leads to 10\.255\.255\.1 .*no public host"):
        web.fetch(f"http://public.example:{port}/inside")


@pytest.mark.parametrize(
    "url", ["http:///1.png", "http://user:word@host/1.png", "http://[::1/1.png", "http://h:99999/x"]
)
def test_odd_urls_are_refused(url):
    with pytest.raises(ImageError, match="URL"):
        web.fetch(url)


def test_a_list_of_urls_is_read_only_with_leave_for_private_hosts(server, tmp_path):
    (tmp_path / "urls.csv").write_text(f"url,label\n{server}/1.png,cat\n{server}/moved,dog\n")
    assert [image.read() for image in open_source(tmp_path / "urls.csv", allow_private_hosts=True)] == [DATA, DATA]
    with pytest.raises(ImageError, match="no public host"):
        open_source(tmp_path / "urls.csv")[0].read()
