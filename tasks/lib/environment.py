"""One place that silences telemetry, keeps hubs out of reach and prepares the heap; standard library only."""

import ctypes
import os
import sys
import tempfile
import urllib.parse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

QUIET = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # without this, a client that knows no server starts one of its own, which a kill leaves behind
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # threads that spin long while they wait slow training several times over beside any other busy process;
    # ones that do not spin at all slow small models to a half: see docs/decisions/0006
    "GOMP_SPINCOUNT": "5000",
    "TQDM_DISABLE": "1",  # our own bars ask for themselves
    # git is asked once, by us; MLflow's own probe prints a warning when there is no git
    "GIT_PYTHON_REFRESH": "quiet",
    # a client call to a server that is away must fail in seconds, not in minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where --json prints JSON and nothing else
    # faults are told once, by us; Prefect's run pages keep the tracebacks of those that are not of data or settings
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "PREFECT_CLI_PROMPT": "false",
}

SCREENS: list[TextIO] = []  # stderr as it was before each `muted` that is on, the first of them first

# mallopt(3) parameters, from <malloc.h>
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def quiet() -> None:
    """Set the environment before any library reads it; what the user has set is kept.

    The hub is out of reach unless the user says HF_HUB_OFFLINE=0; its local cache is always used.
    """
    # the stage is called register; pydantic's attribute of that name is not used
    warnings.filterwarnings("ignore", message='Field name "register"')
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    _out_of_the_address()


def _out_of_the_address() -> None:
    """Take name and password out of the address of an MLflow server, which is told in messages and kept; its client finds them elsewhere too."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if "@" not in given or not given.startswith(("http://", "https://")):
        return
    address = urllib.parse.urlsplit(given)
    os.environ["MLFLOW_TRACKING_URI"] = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    for name, value in (("USERNAME", address.username), ("PASSWORD", address.password)):
        if value is not None:
            os.environ[f"MLFLOW_TRACKING_{name}"] = urllib.parse.unquote(value)


def keep_heap() -> bool:
    """Stop glibc from returning large blocks to the kernel between training steps.

    Faulting the same pages in again at every step costs a third of CPU training time. Returns
    whether the allocator took the settings (False where it is not glibc).
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2_000_000_000, M_TOP_PAD: 256_000_000}
    return all(mallopt(name, value) == 1 for name, value in wanted.items())


def screen() -> TextIO:
    """The stderr that people read, whatever is muted."""
    return SCREENS[0] if SCREENS else sys.stderr


@contextmanager
def muted() -> Iterator[None]:
    """Keep the chatter of a library off the terminal; if it fails, what it said is shown after all."""
    kept = {stream: os.dup(stream.fileno()) for stream in (sys.__stdout__, sys.__stderr__) if stream is not None}
    before = os.fdopen(list(kept.values())[-1], "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    SCREENS.append(before)
    with tempfile.TemporaryFile() as said:
        for stream in kept:
            stream.flush()
            os.dup2(said.fileno(), stream.fileno())
        failed = True
        try:
            yield
            failed = False
        finally:
            if failed:
                said.seek(0)
                os.write(list(kept.values())[-1], said.read())
            SCREENS.remove(before)
            before.flush()
            for stream, handle in kept.items():
                stream.flush()
                os.dup2(handle, stream.fileno())
                os.close(handle)
