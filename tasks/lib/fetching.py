"""A file of the web, tried again where the fault may pass (the importer of urllib3)."""

import logging
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry, Timeout, make_headers
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError, ReadTimeoutError

from tasks.lib import environment, progress
from tasks.lib.errors import DataError

TRIES = 5
SECONDS = 30.0  # without a connection, or without a byte of an answer
REMEDY = "check the network, or put the file into a mirror: --mirror DIR or SLMFORGE_MIRROR"
BLOCK = 1 << 20


class Patience(Retry):
    """urllib3's retries, which say that there is something to wait for."""

    def sleep(self, response: Any = None) -> None:
        """Wait before the next try."""
        last = self.history[-1]
        why = f"HTTP {last.status}" if last.error is None else str(last.error)
        print(f"  a download is tried again: {why}", file=environment.screen(), flush=True)
        super().sleep(response)


# seconds before the second, third, ... try: none, 2, 4, 8; more where the server names a time, up to a minute
PATIENCE = Patience(
    total=None,
    connect=TRIES - 1,
    read=TRIES - 1,
    status=TRIES - 1,
    redirect=10,
    other=0,  # a certificate does not become right
    status_forcelist=(429, 500, 502, 503, 504),
    backoff_factor=1,
    retry_after_max=60,
)


def fetch(url: str, place: Path, name: str, cap: int, patience: Retry = PATIENCE) -> None:
    """Write what is at an address to `place`, byte for byte.

    Connections that fail or break off, silence, and answers 429 and 5xx (500, 502 to 504) are tried again, a bounded number
    of times; nothing else is.

    Args:
        url: the address.
        place: a file that may be written over.
        name: the dataset that it is for.
        cap: bytes beyond which it is refused.
        patience: how often what is tried again, and after how long.

    Raises:
        DataError: if it is not there, cannot be fetched, or is too large.
    """
    asked = f"dataset {name!r} from {url}"
    pool, spent = _pool(url), patience
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # Patience says it in plain words
    try:
        while True:
            answer = pool.request(
                "GET", url, preload_content=False, decode_content=False, retries=spent, timeout=Timeout(connect=SECONDS, read=SECONDS)
            )
            if answer.status != 200:
                raise DataError(asked, f"it cannot be fetched (HTTP {answer.status} {answer.reason or ''})".replace(" )", ")"), REMEDY)
            try:
                return _write(answer, place, name, url, cap)
            except (ProtocolError, ReadTimeoutError) as error:  # it broke off: what came is of no use
                answer.close()
                spent = (answer.retries or spent).increment("GET", url, error=error)
                spent.sleep()
    except HTTPError as error:
        found = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        raise DataError(asked, f"it cannot be fetched ({found})", REMEDY) from error
    finally:
        pool.clear()


def _write(answer: BaseHTTPResponse, place: Path, name: str, url: str, cap: int) -> None:
    length = answer.headers.get("Content-Length")
    size = 0
    with place.open("wb") as file, progress.Bar(f"download {name}", int(length) if length else None, "B") as bar:
        for block in answer.stream(BLOCK, decode_content=False):
            size += len(block)
            if size > cap:
                raise DataError(f"dataset {name!r}", f"more than {cap:,} bytes at {url}", REMEDY)
            file.write(block)
            bar.advance(len(block))


def _pool(url: str) -> PoolManager:
    """Connections as the environment wants them: by a proxy of HTTPS_PROXY, unless NO_PROXY names the host."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy is None or proxy_bypass(parts.netloc):
        return PoolManager()
    gate = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    who = f"{unquote(gate.username)}:{unquote(gate.password or '')}" if gate.username else None
    headers = make_headers(proxy_basic_auth=who)
    return ProxyManager(gate._replace(netloc=gate.netloc.rpartition("@")[2]).geturl(), proxy_headers=headers)
