"""A mirror of the hub on this machine, which serves the folder of tests/helpers/standins.py.

It answers as the hub does: files with their commit, listings, and 404 with the reason. A commit (40
hex digits) is the folder `pinned`, any other revision the folder of that name.
"""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

FILES = re.compile(
    r"/(?P<kind>datasets/)?(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)
LISTS = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<id>[^/]+/[^/]+)/(?P<listing>revision|tree|paths-info)/(?P<revision>[^/]+)(?:/(?P<path>.+))?"
)
BRANCHES = ("main", "refs/pr/1", "refs/pr/2", "refs/convert/parquet")
WHOLE = re.compile(r"/api/(?P<kind>models|datasets)/(?P<id>[^/]+/[^/]+)")


class Mirror:
    """Serves `folder` while it is open. `endpoint` is its address, `requests` are the paths of all
    requests so far."""

    def __init__(self, folder: Path):
        self.folder, self.requests = folder, []
        handler = type("Handler", (_Handler,), {"mirror": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "Mirror":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mirror: Mirror

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.mirror.requests.append(self.path)
        path = urlsplit(self.path).path
        if match := FILES.fullmatch(path):
            return self._file(match)
        if match := LISTS.fullmatch(path):
            return self._list(match)
        if match := WHOLE.fullmatch(path):
            return self._about(match, "main")
        self._missing("EntryNotFound")

    do_POST = do_GET

    def _folder(self, match, revision: str) -> Path | None:
        """The folder of a revision; None, after an answer, if there is none."""
        kind = "datasets" if (match["kind"] or "").startswith("datasets") else "models"
        repository = self.mirror.folder / kind / match["id"]
        if not repository.is_dir():
            self._missing("RepoNotFound")
            return None
        names = {commit(match["id"], name): name for name in BRANCHES}
        name = names.get(revision, "pinned" if re.fullmatch("[0-9a-f]{40}", revision) else revision)
        folder = repository / name
        if name == "main" and not folder.is_dir():
            folder = repository / "pinned"
        if not folder.is_dir():
            self._missing("RevisionNotFound")
            return None
        return folder

    def _file(self, match) -> None:
        revision = unquote(match["revision"])
        if (folder := self._folder(match, revision)) is None:
            return
        file = folder / unquote(match["path"])
        if not file.is_file():
            return self._missing("EntryNotFound", {"X-Repo-Commit": commit(match["id"], revision)})
        content = file.read_bytes()
        headers = {
            "X-Repo-Commit": commit(match["id"], revision),
            "ETag": f'"{oid(content)}"',
            "Accept-Ranges": "bytes",
        }
        if part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return self._answer(206, content[first : last + 1], headers)
        self._answer(200, content, headers)

    def _list(self, match) -> None:
        revision = unquote(match["revision"])
        if match["listing"] == "revision":
            return self._about(match, revision)
        if (folder := self._folder(match, revision)) is None:
            return
        if match["listing"] == "tree":
            start = folder / unquote(match["path"] or "")
            if not start.is_dir():
                return self._missing("EntryNotFound")
            deep = parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower() == "true"
            paths = sorted(start.rglob("*") if deep else start.iterdir())
            return self._json([entry(folder, path) for path in paths])
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if body.startswith(b"{"):
            names = json.loads(body)["paths"]
        else:
            names = parse_qs(body.decode()).get("paths", [])
        paths = [folder / name for name in ([names] if isinstance(names, str) else names)]
        self._json([entry(folder, path) for path in paths if path.exists()])

    def _about(self, match, revision: str) -> None:
        if (folder := self._folder(match, revision)) is None:
            return
        paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
        about = {"id": match["id"], "sha": commit(match["id"], revision)}
        about |= {"siblings": [{"rfilename": str(path)} for path in paths]}
        self._json(about | {"tags": [], "private": False})

    def _missing(self, reason: str, headers: dict | None = None) -> None:
        self._answer(
            404, json.dumps({"error": reason}).encode(), {"X-Error-Code": reason, **(headers or {})}
        )

    def _json(self, value) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_) -> None:
        pass


def commit(repository: str, revision: str) -> str:
    """The commit of a revision: itself, or 40 digits made from its name."""
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    return hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()


def oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def entry(folder: Path, path: Path) -> dict:
    """A file or folder in a listing."""
    name = path.relative_to(folder).as_posix()
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": oid(name.encode())}
    return {
        "type": "file",
        "path": name,
        "size": path.stat().st_size,
        "oid": oid(path.read_bytes()),
    }
