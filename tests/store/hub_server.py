"""As much of the Hugging Face hub as pushing and opening a data set asks for, over real HTTP, in memory."""

import base64
import hashlib
import http.server
import json
import re
import threading


class Hub:
    """Serves one repository; `commits` holds the files of each commit, by path."""

    def __init__(self):
        self.commits, self.asked, hub = [], [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.answer(self, b"")

            do_HEAD = do_GET

            def do_POST(self):
                hub.answer(self, self.rfile.read(int(self.headers.get("content-length", 0))))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def files(self):
        return {path: data for commit in self.commits for path, data in commit.items()}

    def answer(self, request, body):
        path = request.path.partition("?")[0]
        self.asked.append(f"{request.command} {path}")
        resolved = re.fullmatch(r"/datasets/me/toy/resolve/[^/]+/(.+)", path)
        if resolved:
            data = self.files.get(resolved[1])
            return self.send(request, 404 if data is None else 200, data or b"")
        value = self.api(path, body)
        return self.send(request, 404 if value is None else 200, json.dumps(value).encode())

    def api(self, path, body):
        if path == "/api/repos/create":
            return {"url": f"{self.url}/datasets/me/toy", "name": "me/toy"}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if path.endswith("/preupload/main"):
            asked = json.loads(body)["files"]
            return {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
        if path.endswith("/commit/main"):
            lines = [json.loads(line) for line in body.splitlines()]
            new = {f["value"]["path"]: base64.b64decode(f["value"]["content"]) for f in lines if f["key"] == "file"}
            self.commits.append(new)
            return {"commitUrl": f"{self.url}/datasets/me/toy/commit/{'1' * 40}", "commitOid": "1" * 40}
        if "/tree/" in path or "/paths-info/" in path:
            wanted = None
            if "/paths-info/" in path:
                wanted = json.loads(body)["paths"]
            return [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.files.items()
                if wanted is None or name in wanted
            ]
        if re.fullmatch(r"/api/datasets/me/toy(/revision/[^/]+)?", path) and self.commits:
            return {"id": "me/toy", "sha": "1" * 40, "siblings": [{"rfilename": name} for name in self.files]}
        return None

    def send(self, request, status, data):
        start, stop = 0, len(data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if asked and status == 200:
            start, stop = int(asked[1]), min(int(asked[2] or stop) + 1, len(data))
            status = 206
        request.send_response(status)
        request.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        request.send_header("X-Repo-Commit", "1" * 40)
        request.send_header("Accept-Ranges", "bytes")
        if status == 404:
            request.send_header("X-Error-Code", "EntryNotFound")
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        request.send_header("Content-Length", str(stop - start))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data[start:stop])
