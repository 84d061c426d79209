"""Images behind http(s) URLs of a list that may be a stranger's: only public hosts, in bounded size and time.

The address that was checked is the one that is connected to, for every redirect anew, so that neither a name that
resolves into a private network nor one that changes its mind between check and connection gets there. Proxies of
the environment are not used: they would resolve the name themselves.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from urllib.parse import urljoin, urlsplit

from seit import __version__
from seit.errors import ImageError

LARGEST = 64 << 20
SECONDS = 30.0
REDIRECTS = 5
TRIES = 3
PAUSE = 0.5  # seconds before the second try, twice that before the third
_AGENT = f"seit/{__version__} (image data set tool)"
_NOT_FOUND = "remove it from the list"


def fetch(url: str, *, private: bool = False, largest: int = LARGEST, seconds: float = SECONDS) -> bytes:
    """Returns the bytes behind a URL; what may pass (a server's 5xx or 429, a broken connection) is tried three
    times.

    Args:
        url: http or https.
        private: allow hosts that are not public (loopback, private networks, link-local).
        largest: most bytes of a body.
        seconds: for one try altogether: name, connection, redirects and body.

    Raises:
        ImageError: another protocol, a host that is not public, too many redirects, too many bytes or too slow,
            or an
            answer that is no success.
    """
    for attempt in range(TRIES):
        try:
            return _once(url, private, largest, time.monotonic() + seconds)
        except _MayPass as error:
            if attempt == TRIES - 1:
                raise ImageError(error.what, url, error.cure) from error
            time.sleep(PAUSE * 2**attempt)
    raise AssertionError("unreachable")


class _MayPass(ImageError):
    """A failure that another try may not meet."""


def _once(url: str, private: bool, largest: int, deadline: float) -> bytes:
    """Follows redirects from `url` to a body."""
    at = url
    for _ in range(REDIRECTS + 1):
        connection, target = _connect(at, url, private, deadline)
        # A server may drip bytes just fast enough for every single read: the whole exchange has one end.
        watch = threading.Timer(max(0.0, deadline - time.monotonic()), _shut, [connection.sock])
        watch.daemon = True
        watch.start()
        try:
            headers = {"User-Agent": _AGENT, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            if answer.status in (301, 302, 303, 307, 308):
                at = urljoin(at, answer.getheader("Location") or "")
                continue
            data = _body(answer, url, largest)
            if time.monotonic() < deadline:  # else the watch may have cut off a body of unknown length
                return data
            raise TimeoutError
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = time.monotonic() >= deadline
            what = "took too long" if late else f"broke off ({type(error).__name__}: {str(error)[:80]})"
            raise _MayPass(what, url, "try again later, or remove it from the list") from error
        finally:
            watch.cancel()
            connection.close()
    raise ImageError(f"redirects more than {REDIRECTS} times", url, _NOT_FOUND)


def _body(answer: http.client.HTTPResponse, url: str, largest: int) -> bytes:
    """Returns the body of a success."""
    if answer.status == 429 or answer.status >= 500:
        raise _MayPass(f"the server answers {answer.status}", url, "try again later, or remove it from the list")
    if answer.status != 200:
        raise ImageError(f"the server answers {answer.status}", url, _NOT_FOUND)
    data = answer.read(largest + 1)
    if len(data) > largest:
        raise ImageError(f"is larger than {largest} bytes", url, _NOT_FOUND)
    if answer.length:  # what was promised and did not come
        raise http.client.IncompleteRead(data, answer.length)
    return data


def _shut(connected: socket.socket) -> None:
    """Ends a connection under who reads from it; http.client itself forgets the socket once it has the headers."""
    with contextlib.suppress(OSError):  # it has ended by itself
        connected.shutdown(socket.SHUT_RDWR)


def _connect(at: str, url: str, private: bool, deadline: float) -> tuple[http.client.HTTPConnection, str]:
    """Connects to the host of `at` at an address that was checked; returns the connection and the request's
    target."""
    try:
        parts = urlsplit(at)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ImageError(f"leads to {at[:100]!r}, which is no URL", url, _NOT_FOUND) from error
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise ImageError(f"leads to {at[:100]!r}, not to a plain http(s) URL", url, _NOT_FOUND)
    port = port or (443 if parts.scheme == "https" else 80)
    raw = _open(host, port, url, private, deadline)
    try:
        if parts.scheme == "https":
            raw = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
    except OSError as error:  # also a certificate that does not fit
        raw.close()
        raise _MayPass(f"no secure connection ({str(error)[:80]})", url, _NOT_FOUND) from error
    connection = http.client.HTTPConnection(host, port)
    connection.sock = raw
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return connection, target.replace(" ", "%20")


def _open(host: str, port: int, url: str, private: bool, deadline: float) -> socket.socket:
    """Resolves a host once, refuses it if any of its addresses is not public, and connects to one of them."""
    cure = "try again later, or remove it from the list"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _MayPass(f"its host {host} cannot be found ({str(error)[:60]})", url, cure) from error
    addresses = [(family, address) for family, _, _, _, address in found]
    hidden = next((str(address[0]) for _, address in addresses if not _is_public(str(address[0]))), None)
    if hidden is not None and not private:
        raise ImageError(f"leads to {host} ({hidden}), which is no public host", url, "give --allow-private-hosts")
    failure: OSError | None = None
    for family, address in addresses:
        raw = socket.socket(family, socket.SOCK_STREAM)
        try:
            raw.settimeout(max(0.1, deadline - time.monotonic()))
            raw.connect(address)
            return raw
        except OSError as error:
            raw.close()
            failure = error
    raise _MayPass(f"its host {host} does not answer ({failure})", url, cure)


def _is_public(text: str) -> bool:
    """Says whether an address belongs to the public internet, also the IPv4 address that an IPv6 one carries."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        teredo = address.teredo
        carried = [address.ipv4_mapped, address.sixtofour, *(teredo or ())]
        if address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64
            carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(inner is not None and not _is_public(str(inner)) for inner in carried):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast
