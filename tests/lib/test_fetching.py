"""Downloads from a real server on loopback that fails in many ways."""

import gzip
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tasks.lib import digests, fetching, sources
from tasks.lib.errors import DataError
from tasks.lib.origins import PublishedSource

CONTENT = b"published " * 100_000
SOON = fetching.PATIENCE.new(backoff_factor=0.01)


class Server(ThreadingHTTPServer):
    """Answers by a list of what happens, one for each request; its last goes on for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.script: list[Any] = ["whole"]
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.jsonl"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class Answering(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        step = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        match step:
            case int():
                self.send_response(step)
                self.send_header("Retry-After", "0")
                self.end_headers()
            case "hang up":
                self.connection.close()
            case "silence":
                time.sleep(1.5)
            case "elsewhere":
                self.send_response(302)
                self.send_header("Location", "/moved.jsonl")
                self.end_headers()
            case "packed":
                self.give(gzip.compress(CONTENT), coding="gzip")
            case "break off":
                self.give(CONTENT, sent=len(CONTENT) // 2)
            case _:
                self.give(CONTENT)

    def give(self, content: bytes, *, sent: int | None = None, coding: str | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if coding:
            self.send_header("Content-Encoding", coding)
        self.end_headers()
        self.wfile.write(content[:sent])

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_what_may_pass_is_tried_again_and_comes_whole(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 0.4)
    for script in (["hang up", 503, "whole"], [429, "break off", "whole"], ["silence", 500, "elsewhere", "whole"]):
        server.script, server.asked = list(script), []
        fetching.fetch(server.url, tmp_path / "file", "notes", 2 * len(CONTENT), SOON)
        assert (tmp_path / "file").read_bytes() == CONTENT, script
        assert len(server.asked) == len(script)
    said = capsys.readouterr()
    assert said.out == "", "stdout is for results"
    assert said.err.count("a download is tried again") == 6
    assert "HTTP 503" in said.err


@pytest.mark.parametrize(("step", "tries", "found"), [(404, 1, "HTTP 404"), (403, 1, "HTTP 403"), (502, fetching.TRIES, "502"),
                                                      ("break off", fetching.TRIES, "IncompleteRead")])  # fmt: skip
def test_what_does_not_pass_is_an_error_after_a_bounded_number_of_tries(
    server: Server, tmp_path: Path, step: Any, tries: int, found: str
) -> None:
    server.script = [step]
    with pytest.raises(DataError, match=f"it cannot be fetched .*{found}"):
        fetching.fetch(server.url, tmp_path / "file", "notes", 2 * len(CONTENT), SOON)
    assert len(server.asked) == tries


def test_an_address_where_nobody_listens_is_tried_again_and_then_named(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match=f"dataset 'notes' from {server.url}\n.*Connection refused.*\n.*--mirror DIR"):
        fetching.fetch(server.url, tmp_path / "file", "notes", 10, SOON)
    assert capsys.readouterr().err.count("tried again") == fetching.TRIES - 1


def test_another_digest_is_asked_for_once_and_nothing_is_kept(server: Server, workplace: Path) -> None:
    right = PublishedSource.model_construct(url=server.url, sha256=digests.of_text(CONTENT.decode()))  # a card admits https only
    assert sources._download(right, "notes").read_bytes() == CONTENT
    server.script, server.asked = ["whole"], []
    with pytest.raises(DataError, match="the published file has changed"):
        sources._download(right.model_copy(update={"sha256": "0" * 64}), "notes")
    assert len(server.asked) == 1
    assert [file.name for file in (workplace / "runs/downloads").iterdir()] == [right.sha256]


def test_bytes_are_kept_as_they_come_and_not_too_many(server: Server, tmp_path: Path) -> None:
    server.script = ["packed"]
    fetching.fetch(server.url, tmp_path / "file", "notes", 2 * len(CONTENT), SOON)
    assert gzip.decompress((tmp_path / "file").read_bytes()) == CONTENT
    server.script, server.asked = ["whole"], []
    with pytest.raises(DataError, match="more than 1,000 bytes"):
        fetching.fetch(server.url, tmp_path / "file", "notes", 1_000, SOON)
    assert len(server.asked) == 1


def test_a_proxy_of_the_environment_is_used_unless_the_host_is_exempt(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:se%40cret@127.0.0.1:{server.server_port}")
    fetching.fetch("http://elsewhere.invalid/file", tmp_path / "file", "notes", 2 * len(CONTENT), SOON)
    assert server.asked == [("http://elsewhere.invalid/file", "Basic bWU6c2VAY3JldA==")]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetching.fetch(server.url, tmp_path / "file", "notes", 2 * len(CONTENT), SOON)
    assert server.asked[1:] == [("/file.jsonl", None)]
