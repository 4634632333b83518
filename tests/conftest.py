"""A toy domain and a runs folder of its own for every test that asks."""

import atexit
import functools
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from flows.prepare import prepare
from tasks.lib import examine
from tasks.lib.environment import quiet
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tasks.split import Split
from tests import preloaded
from tests.network import cut
from tests.published import DOMAINS, Prepared

quiet()

ROOT = Path(__file__).resolve().parent.parent
WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "apple",
    "stone",
    "river",
    "cloud",
    "bread",
    "water",
    "light",
    "night",
    "green",
    "small",
    "large",
    "house",
]
CARD = """\
purpose: a toy
owner: tests
risk: low
licences: [CC0-1.0, PSF-2.0]
schedule: "0 3 * * 1"
datasets:
  - {name: documents, role: corpus, source: {path: data/documents.jsonl}, licence: CC0-1.0, kind: synthetic, map: {text: "{text}"}}
  - name: colours
    role: tune
    source: {path: data/colours.csv}
    licence: CC0-1.0
    kind: synthetic
    choices: [red, blue]
    map: {prompt: "{q}", response: "{a}"}
    holdout: 20
  - {name: ratings, role: preference, source: {path: data/ratings.jsonl}, licence: CC0-1.0, kind: synthetic, map: {prompt: "{q}", answer: "{a}", rating: "{r}"}}
  - {name: general, role: general, source: {builtin: pydoc-topics}, licence: PSF-2.0, kind: public, map: {text: "{text}"}}
config:
  base: {source: {kind: scratch, vocabulary: 512, hidden: 64, layers: 4, heads: 4, training: {tokens: 20000, length: 128}}}
  pretrain: {length: 128}
  tune: {length: 128, epochs: 1}
  align: {length: 128}
  distill: {length: 128, layers: 2}
  evaluate: {texts: 10, limit: 10, length: 128}
  check: {docs: false}
"""
EXPECTATIONS = "tune:\n  - expect_column_values_to_not_be_null: {column: prompt}\n"
TASK = """\
task: colour
dataset_path: json
dataset_kwargs: {data_files: {test: colours-heldout.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1}
"""


def write_toy(place: Path) -> Path:
    """Write the toy domain below `place`/domains and return its folder."""
    folder = place / "domains" / "toy"
    (folder / "data").mkdir(parents=True)
    (folder / "eval").mkdir()
    draw = random.Random(1)
    (folder / "domain.yaml").write_text(CARD)
    (folder / "expectations.yaml").write_text(EXPECTATIONS)
    (folder / "eval" / "colour.yaml").write_text(TASK)
    documents = [{"text": " ".join(draw.choice(WORDS) for _ in range(60))} for _ in range(200)] + [{"text": "\ufeff"}]
    (folder / "data" / "documents.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    rows = [
        (f"What colour is {thing} number {i}?", colour)
        for i in range(200)
        for thing, colour in [draw.choice([("apple", "red"), ("river", "blue")])]
    ]
    (folder / "data" / "colours.csv").write_text("q,a\n" + "".join(f"{q},{a}\n" for q, a in [*rows, ("Nothing at all?", "")]))
    rated = [{"q": f"Colour of item {i}?", "a": a, "r": r} for i in range(40) for a, r in (("red", 2), ("blue", 1))]
    (folder / "data" / "ratings.jsonl").write_text("".join(json.dumps(d) + "\n" for d in rated))
    return folder


@contextmanager
def settled(folder: Path) -> Iterator[Path]:
    """`folder` as the working directory, with a runs folder that the tests of a module share: artifacts are cached across them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SLMFORGE_RUNS", str(folder / "runs"))
        yield folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the toy, for all tests of a module."""
    folder = tmp_path_factory.mktemp("place")
    write_toy(folder)
    with settled(folder):
        yield folder


@pytest.fixture(scope="module")
def data(place: Path) -> Split:
    """The toy's split."""
    made: Split = prepare.under(Direct(), prepare.job(Order("toy")))
    return made


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with its own runs folder and no server named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLMFORGE_RUNS", str(tmp_path / "runs"))
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "SLMFORGE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def toy(workplace: Path) -> Path:
    """The toy domain's folder, in the working directory."""
    return write_toy(workplace)


@pytest.fixture
def asked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions to libraries are answered in this process, which has loaded them; that a process of its own does is tested elsewhere."""
    monkeypatch.setattr(examine, "_ask", examine._answer)


def git(folder: Path, *words: str) -> str:
    """What a git command says, with an author of its own."""
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True).stdout.strip()


Run = Callable[..., subprocess.CompletedProcess[str]]


ANSWERS = "SLMFORGE_TEST_ANSWERS"
NOTED = "connections"
SERVED = "from tasks.lib import servers\nlease = servers.Lease()\nprint(servers.prefect_api(), flush=True)\ninput()"


@functools.cache
def prefect_api() -> str:
    """One Prefect server for the command lines of this test process: to start one takes ten seconds of both cores.

    It is ended by its keeper after this process, however that ends: the lease is held by a child that waits for its input to close.
    """
    runs = tempfile.mkdtemp(prefix="slmforge-prefect-")
    environment = {k: v for k, v in os.environ.items() if k not in ("PREFECT_API_URL", "PREFECT_HOME")}
    environment |= {"SLMFORGE_RUNS": runs, "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen(
        [sys.executable, "-c", SERVED], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    atexit.register(_close, holder, runs)
    assert holder.stdout is not None
    url = holder.stdout.readline().strip()
    assert url, f"no Prefect server: see {runs}/prefect/server.log"
    return url


def _close(holder: subprocess.Popen[str], runs: str) -> None:
    assert holder.stdin is not None
    holder.stdin.close()
    holder.wait(30)
    shutil.rmtree(runs, ignore_errors=True)  # which ends the keeper too


# by what they need; a `plan` asks the libraries of models
LIGHT = ("accept", "add", "check", "new", "review", "rows", "show", "verify", "why")
HEAVY = ("adapt", "classify", "draft", "evaluate", "plan", "rlhf", "sweep")


def pytest_sessionstart(session: pytest.Session) -> None:
    """A folder for what libraries have answered, which all test processes share; they inherit its name."""
    if not hasattr(session.config, "workerinput"):
        os.environ[ANSWERS] = tempfile.mkdtemp(prefix="slmforge-examined-")


def pytest_collection_finish() -> None:
    """What the tests' modules have loaded is no longer looked at by collections, of which a training makes several: half a second each."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(os.environ.pop(ANSWERS))


def _remember(runs: Path) -> None:
    """What libraries have answered to one test's command line, those of others need not ask again: it takes five seconds."""
    if not (runs / "examined").exists():
        runs.mkdir(parents=True, exist_ok=True)
        (runs / "examined").symlink_to(os.environ[ANSWERS])


@functools.cache
def forking(libraries: tuple[str, ...]) -> preloaded.Preloaded:
    """One process that has loaded them, for this test process."""
    return preloaded.Preloaded(ROOT, libraries)


def _environment(cwd: Path, **extra: str) -> dict[str, str]:
    """Of a command line in a folder with its own runs, that knows of no server."""
    here = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME", "SLMFORGE_MIRROR", "HF_HUB_OFFLINE")
    kept = {name: value for name, value in os.environ.items() if name not in here}
    return {**kept, "SLMFORGE_RUNS": str(cwd / "runs"), "PYTHONPATH": str(ROOT), **extra}


def slmforge(*words: str, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with the tests' Prefect server (`PREFECT_API_URL=""`: with one of its own)."""
    environment = _environment(cwd, **extra)
    _remember(Path(environment["SLMFORGE_RUNS"]))
    if "PREFECT_API_URL" not in extra:
        environment["PREFECT_API_URL"] = prefect_api()
    if not extra and words[0] in (*LIGHT, *HEAVY) and (cwd / "domains").is_dir():
        return forking(preloaded.DATA if words[0] in LIGHT else preloaded.MODELS).run(words, cwd, environment)
    command = [sys.executable, "-m", "flows.cli", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture
def cli(workplace: Path) -> Run:
    """Call the command line in the test's working directory."""

    def run(*words: str, **extra: Any) -> subprocess.CompletedProcess[str]:
        return slmforge(*words, cwd=workplace, **extra)

    return run


@pytest.fixture(scope="session")
def adapted(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A working directory in which the toy was adapted once, with the network cut, for all test processes.

    Tests that change something copy it. What its processes asked of sockets is noted beside it.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    place, done = shared / "adapted", shared / "adapted.done"
    with FileLock(shared / "adapted.lock"):
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)  # of a test process that could not make it
            write_toy(place)
            command, more = cut("-m", "flows.cli", "adapt", "toy")
            path = f"{ROOT / 'tests/audit'}:{ROOT}"
            environment = _environment(place, PYTHONPATH=path, SLMFORGE_TEST_CONNECTIONS=str(shared / NOTED), **more)
            made = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=900)
            assert made.returncode == 0, made.stderr + made.stdout
            assert "toy version 1" in made.stdout
            assert "\n+ tune " in made.stdout
            done.touch()
    return place


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[dict[str, Prepared]]:
    """Each domain's full edition, prepared once for all test processes: a later module finds its artifacts."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    with FileLock(shared / "full.lock"), pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("SLMFORGE_RUNS", str(shared / "full" / "runs"))
        made = {domain: Prepared(domain) for domain in DOMAINS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMFORGE_RUNS", str(shared / "full" / "runs"))
        yield made
