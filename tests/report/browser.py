"""A headless Chromium, driven through its DevTools pipe with nothing but the standard library.

Going through the pipe (and not a script added to the page) leaves the page and its content security policy as
they are, and shows every request that the page makes.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One tab. `open` loads a page and returns what the browser said of it; `evaluate` asks about it."""

    def __enter__(self) -> Browser:
        self.folder = tempfile.TemporaryDirectory(prefix="seit-chromium-", ignore_cleanup_errors=True)
        here_in, there_out = os.pipe()
        there_in, here_out = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4; above 9 neither dup2 hits the other's source.
        child = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (there_in, there_out)]
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        flags += ["--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={self.folder.name}"]
        self.process = subprocess.Popen(
            [CHROMIUM, *flags, "about:blank"],
            preexec_fn=lambda: (os.dup2(child[0], 3), os.dup2(child[1], 4)),
            close_fds=False,  # all others close by themselves on exec
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in (there_in, there_out, *child):
            os.close(end)
        self.out, self.into = os.fdopen(here_out, "wb", buffering=0), os.fdopen(here_in, "rb")
        self.count, self.events, self.session, self.rest = 0, [], None, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.out, self.into):
            pipe.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.folder.cleanup()

    def _message(self) -> dict:
        while b"\0" not in self.rest:
            piece = self.into.read1(1 << 20)
            if not piece:
                raise RuntimeError("Chromium ended")
            self.rest += piece
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def call(self, method: str, **parameters: object) -> dict:
        self.count += 1
        request = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        self.out.write(json.dumps(request).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self.count:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def evaluate(self, script: str) -> object:
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def open(self, page: Path, width: int = 1100, height: int = 900, dark: bool = False) -> dict[str, list[str]]:
        """Loads a page from disk; returns its console messages and the addresses it asked for."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + 30
        while self.evaluate("document.readyState") != "complete" or self.evaluate("location.protocol") != "file:":
            if time.monotonic() > deadline:
                raise RuntimeError("the page did not load in 30 s")
            time.sleep(0.02)
        self.evaluate("Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => 1)")
        console, requests = [], []
        for event in self.events:
            name, values = event.get("method"), event.get("params", {})
            if name == "Log.entryAdded":
                console.append(f"{values['entry']['level']}: {values['entry']['text']}")
            elif name == "Runtime.consoleAPICalled":
                console.append(f"{values['type']}: {values['args']}")
            elif name == "Runtime.exceptionThrown":
                console.append(f"exception: {values['exceptionDetails']['text']}")
            elif name == "Network.requestWillBeSent":
                requests.append(values["request"]["url"])
        return {"console": console, "requests": [url for url in requests if not url.startswith("data:")]}

    def screenshot(self, path: Path) -> None:
        """Writes the whole page, from top to bottom, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))
