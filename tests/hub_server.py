"""As much of the Hugging Face hub as pushing and opening ask for, over real HTTP, with commits, in memory."""

import base64
import hashlib
import json
import re

import served

_API = re.compile(
    r"/api/(datasets|models)/([\w.-]+/[\w.-]+)(?:/(revision|preupload|commit|tree|paths-info)/([^/]+).*)?"
)
_FILE = re.compile(r"/(?:(datasets)/)?([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)")


class Repository:
    """Files of each commit, the first one as the hub makes it."""

    def __init__(self, private):
        self.private, self.commits = private, {"0" * 40: {".gitattributes": b"*.arrow filter=lfs\n"}}

    @property
    def head(self):
        return list(self.commits)[-1]

    def at(self, revision):
        """Returns the commit and the files of a revision, or None."""
        sha = self.head if revision in (None, "main") else revision
        return (sha, self.commits[sha]) if sha in self.commits else None

    def commit(self, new, gone=()):
        files = {name: data for name, data in (self.commits[self.head] | new).items() if name not in gone}
        self.commits[f"{len(self.commits):040x}"] = files


class Hub(served.Served):
    """Serves repositories: "datasets/OWNER/NAME" or "models/OWNER/NAME" -> Repository."""

    def __init__(self):
        self.repositories = {}
        super().__init__(self.answer)

    def files(self, name):
        """The files of a repository's last commit."""
        return self.repositories[name].at("main")[1]

    def answer(self, _method, path, body):
        file = _FILE.fullmatch(path)
        if file:
            place = self.repositories.get(f"{file[1] or 'models'}/{file[2]}")
            state = place and place.at(file[3])
            data = state and state[1].get(file[4])
            if data is None:
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            return 200, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": state[0]}, data
        status, value = self.api(path, body)
        return status, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def api(self, path, body):
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            key = f"{asked.get('type') or 'model'}s/{name}"
            new = key not in self.repositories
            if new:
                self.repositories[key] = Repository(asked.get("private") or asked.get("visibility") == "private")
            return 200 if new else 409, {"url": f"{self.url}/{key.removeprefix('models/')}", "name": name}
        parts = _API.fullmatch(path)
        place = parts and self.repositories.get(f"{parts[1]}/{parts[2]}")
        state = place and place.at(parts[4])
        if not state:
            return 404, {"error": "not found"}
        sha, files = state
        if parts[3] == "preupload":
            asked = json.loads(body)["files"]
            return 200, {"files": [self.mode(file["path"], files) for file in asked]}
        if parts[3] == "commit":
            lines = [json.loads(line) for line in body.splitlines()]
            parent = lines[0]["value"].get("parentCommit")
            if parent not in (None, sha):
                return 412, {"error": "a commit has happened since"}
            values = [(line["key"], line["value"]) for line in lines]
            new = {v["path"]: base64.b64decode(v["content"]) for key, v in values if key == "file"}
            place.commit(new, {v["path"] for key, v in values if key == "deletedFile"})
            return 200, {"commitUrl": f"{self.url}/{parts[2]}/commit/{place.head}", "commitOid": place.head}
        if parts[3] in ("tree", "paths-info"):
            wanted = json.loads(body)["paths"] if parts[3] == "paths-info" else list(files)
            return 200, [self.entry(name, files[name]) for name in wanted if name in files]
        siblings = [{"rfilename": name} for name in files]
        return 200, {"id": parts[2], "sha": sha, "private": place.private, "siblings": siblings}

    def entry(self, name, data):
        return {"type": "file", "path": name, "size": len(data), "oid": blob(data)}

    def mode(self, name, files):
        known = {"oid": blob(files[name])} if name in files else {}
        return {"path": name, "uploadMode": "regular", "shouldIgnore": False, **known}


def blob(data):
    """Git's name of a file's content."""
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
