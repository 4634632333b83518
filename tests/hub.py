"""The part of the hub's protocol that a client uses for datasets, over a folder: `python -m tests.hub FOLDER` prints its port.

FOLDER/OWNER/NAME/REVISION holds the files of a commit. What is asked is written to FOLDER/asked, a line each.
"""

import hashlib
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

FOLDER = Path(sys.argv[1]) if __name__ == "__main__" else Path()
TREE = re.compile(r"/api/datasets/([^/]+/[^/]+)/tree/([0-9a-f]{40})")
FILE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)")


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        with (FOLDER / "asked").open("a") as asked:
            asked.write(f"{self.command} {path}\n")
        if found := TREE.fullmatch(path):
            self._tree(FOLDER / found[1] / found[2])
        elif (found := FILE.fullmatch(path)) and (FOLDER / found[1] / found[2] / found[3]).is_file():
            content = (FOLDER / found[1] / found[2] / found[3]).read_bytes()
            self._send(
                200,
                content if with_body else None,
                len(content),
                ETag=f'"{hashlib.sha1(content).hexdigest()}"',
                **{"X-Repo-Commit": found[2]},
            )
        else:
            self._send(404, b"", 0, **{"X-Error-Code": "EntryNotFound" if found else "RepoNotFound"})

    def _tree(self, commit: Path) -> None:
        if not commit.is_dir():
            self._send(404, b"", 0, **{"X-Error-Code": "RevisionNotFound"})
            return
        listed = [
            {
                "type": "file",
                "path": file.relative_to(commit).as_posix(),
                "size": file.stat().st_size,
                "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
            }
            for file in sorted(commit.rglob("*"))
            if file.is_file()
        ]
        content = json.dumps(listed).encode()
        self._send(200, content, len(content), **{"Content-Type": "application/json"})

    def _send(self, code: int, content: bytes | None, size: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(size)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *said: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(server.server_port, flush=True)
    server.serve_forever()
