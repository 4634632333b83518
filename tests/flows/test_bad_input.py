"""What a user sees when something is wrong: file, row and remedy; and nothing half-made is left."""

import gzip
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG, DATA = 2, 3
STAGES = ("ingest", "check", "clean", "dedup", "split", "base", "pretrain")
Run = Callable[..., subprocess.CompletedProcess[str]]
Spoil = Callable[[Path], object]


def edit(old: str, new: str, file: str = "domain.yaml") -> Spoil:
    """Replace something that is there."""

    def spoil(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return spoil


def append(file: str, content: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        with (folder / file).open("ab") as handle:
            handle.write(content)

    return spoil


def content(file: str, made: bytes) -> Spoil:
    return lambda folder: (folder / file).write_bytes(made)


def corpus(file: str, make: Spoil) -> Spoil:
    """The corpus is in another file, made by `make`."""

    def spoil(folder: Path) -> None:
        edit("data/documents.jsonl", file)(folder)
        make(folder)

    return spoil


def cut_gzip(folder: Path) -> None:
    rows = [json.dumps({"text": random.Random(i).randbytes(200).hex()}) for i in range(200)]
    (folder / "data/cut.jsonl.gz").write_bytes(gzip.compress("\n".join(rows).encode())[:-1_000])


def cut_parquet(folder: Path) -> None:
    file = folder / "data/cut.parquet"
    pq.write_table(pa.table({"text": [f"document {i}" for i in range(500)]}), file)
    file.write_bytes(file.read_bytes()[:-40])


def symlink(folder: Path) -> None:
    (folder / "data/documents.jsonl").rename(folder.parent.parent / "away.jsonl")
    (folder / "data/documents.jsonl").symlink_to(folder.parent.parent / "away.jsonl")


def overlap(folder: Path) -> None:
    held = '  - {name: held, role: eval, source: {path: data/held.csv}, licence: CC0-1.0, kind: public, map: {prompt: "{q}", response: "{a}"}}\n'
    edit("  - {name: general", f"{held}  - {{name: general")(folder)
    question = (folder / "data/colours.csv").read_text().splitlines()[5].split(",")[0]
    (folder / "data/held.csv").write_text(f"q,a\nOther?,red\n{question.upper()},red\n")


@dataclass(frozen=True)
class Bad:
    """One thing that is wrong, how slmforge ends, and what it says."""

    spoil: Spoil
    code: int
    says: tuple[str, ...]
    at: str = ""  # the stage that refuses; none: before any stage


def card(old: str, new: str, code: int, *says: str, at: str = "") -> Bad:
    return Bad(edit(old, new), code, says, at)


def records(program: str, code: int, *says: str, at: str = "") -> Bad:
    return card("    choices: [red, blue]", f"    choices: [red, blue]\n    records: '{program}'", code, *says, at=at)


def dataset_file(file: str, made: bytes, *says: str) -> Bad:
    return Bad(content(file, made), DATA, (Path(file).name, *says), "ingest")


BAD = {
    "a column that is missing": card('"{q}", response', '"{qq}", response', DATA, "colours.csv, row 2", "'qq'", "did you mean 'q'", at="ingest"),
    "an empty file": dataset_file("data/documents.jsonl", b"", "at least one row"),
    "a header alone": dataset_file("data/colours.csv", b"q,a\n", "at least one row"),
    "an unknown key in the card": card("owner: tests", "ownr: tests", CONFIG, "ownr", "'owner'", "domain.yaml"),
    "an unknown key of a dataset": card("licence: CC0-1.0, kind", "license: CC0-1.0, kind", CONFIG, "license", "'licence'"),
    "an unknown setting in the card": card("{length: 128, epochs: 1}", "{length: 128, epoch: 1}", CONFIG, "tune.epoch", "'epochs'"),
    "a setting of the wrong type": card("epochs: 1", "epochs: many", CONFIG, "tune.epochs", "'many'"),
    "a role that does not exist": card("role: corpus", "role: corpse", CONFIG, "datasets.0.role", "'corpse'"),
    "a sensitive column that does not exist": card("risk: low", "risk: low\nsensitive: [promt]", CONFIG, "sensitive", "'prompt'"),
    "a choice that cleaning would change": card("[red, blue]", '["red ", blue]', CONFIG, "choices", "'red '"),
    "a duplicate key": card("risk: low", "risk: low\nrisk: high", CONFIG, "duplicate key", "line 4"),
    "an alias": card("owner: tests", "owner: &o tests\nexcluded_uses: [*o]", CONFIG, "alias"),
    "a tag that makes an object": card("owner: tests", 'owner: !!python/object/apply:os.system ["touch canary"]', CONFIG, "tag", "line 2"),
    "a control character": card("owner: tests", "owner: te\x01sts", CONFIG, "character", "domain.yaml"),
    "a digest that differs": card("documents.jsonl}", f"documents.jsonl, sha256: {'a' * 64}}}", DATA, "a" * 64, "documents.jsonl"),
    "a licence that is not allowed": card("[CC0-1.0, PSF-2.0]", "[PSF-2.0]", DATA, "'documents'", "'CC0-1.0'", "domain.yaml"),
    "a path with ..": card("data/documents.jsonl", "../../away.jsonl", DATA, "leaves it", "copy the file"),
    "an absolute path": card("data/documents.jsonl", "/etc/passwd", DATA, "leaves it", "copy the file"),
    "a path with a NUL": card("{path: data/documents.jsonl}", '{path: "data\\0x"}', DATA, "no such file"),
    "a symbolic link": Bad(symlink, DATA, ("leaves it", "documents.jsonl")),
    "a file that is not there": card("data/documents.jsonl", "data/document.jsonl", DATA, "no such file", "data/document.jsonl"),
    "a cut gzip file": Bad(corpus("data/cut.jsonl.gz", cut_gzip), DATA, ("cut.jsonl.gz, row", "gzip", "copy the file again"), "ingest"),
    "a cut parquet file": Bad(corpus("data/cut.parquet", cut_parquet), DATA, ("cut.parquet", "copy the file again"), "ingest"),
    "bytes that are no UTF-8": Bad(append("data/documents.jsonl", b'{"text": "\xff"}\n'), DATA, ("documents.jsonl, row 202", "0xff", "UTF-8"), "ingest"),
    "JSON that is no object": Bad(append("data/documents.jsonl", b'["x"]\n'), DATA, ("documents.jsonl, row 202", "list"), "ingest"),
    "a ragged row": Bad(append("data/colours.csv", b"What, now?,red\n"), DATA, ("colours.csv, row 203", "3 cells", "quote"), "ingest"),
    "two columns of one name": Bad(edit("q,a\n", "q,q\n", "data/colours.csv"), DATA, ("colours.csv", "'q' more than once", "rename"), "ingest"),
    "jq that does not compile": records(".[", DATA, "colours.csv, row 2", "syntax error", at="ingest"),
    "jq that drops rows": records('select(.a != "red")', DATA, "colours.csv, row", "0 results", at="ingest"),
    "jq that reads the environment": records(".q = $ENV.HOME", CONFIG, "datasets.1.records", "$ENV"),
    "training rows that are evaluated": Bad(overlap, DATA, ("colours.csv, row 6", "held:3", "split.overlap=set-aside"), "split"),
    "an expectation that does not exist": Bad(
        edit("to_not_be_null", "to_be_fine", "expectations.yaml"), CONFIG, ("expect_column_values_to_be_fine", "role tune"), "check"
    ),
    "an argument that does not exist": Bad(
        edit("{column: prompt}", "{colum: prompt}", "expectations.yaml"), CONFIG, ("expect_column_values_to_not_be_null", "colum"), "check"
    ),
    "a column that expectations do not have": Bad(edit("prompt}", "promt}", "expectations.yaml"), CONFIG, ('"promt"',), "check"),
    "an expectation that the rows do not meet": Bad(
        edit("{column: prompt}", "{column: response}", "expectations.yaml"),
        DATA,
        ("expect_column_values_to_not_be_null(column=response)", "1 of 201 rows fail", "data/colours.csv, row 202", "expectations.yaml"),
        "base",  # what became of the rows is shown all the same
    ),
    "expectations for no role": Bad(edit("tune:", "tunes:", "expectations.yaml"), CONFIG, ("tunes", "'tune'"), ""),
    "expectations that are a list": Bad(content("expectations.yaml", b"- tune\n"), CONFIG, ("expectations.yaml", "no mapping"), ""),
}  # fmt: skip


def assert_nothing_half_made(workplace: Path, at: str) -> None:
    artifacts = workplace / "runs" / "artifacts"
    refused = STAGES[STAGES.index(at) :] if at else STAGES
    folders = [path for stage in refused for path in (artifacts / stage).glob("*") if path.is_dir()]
    assert not folders, "a folder is left of a stage that was refused"
    assert not list(artifacts.glob("*/.*")), "a workspace is left"
    assert all((path / "artifact.json").is_file() for path in artifacts.glob("*/*") if path.is_dir())
    assert not (workplace / "canary").exists()


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused_by_name_before_any_training(name: str, toy: Path, cli: Run, workplace: Path) -> None:
    bad = BAD[name]
    bad.spoil(toy)
    done = cli("check", "toy")
    assert done.returncode == bad.code, done.stderr
    assert done.stderr.startswith("error\n  wanted: ")
    assert "Traceback" not in done.stderr
    assert "\n  found: " in done.stderr
    assert "\n  to do: " in done.stderr
    for said in bad.says:
        assert said in done.stderr
    assert_nothing_half_made(workplace, bad.at)


SETTINGS = {
    "tune.epoch=2": ("tune.epoch", "'epochs'"),
    "tunes.epochs=2": ("tunes", "'tune'"),
    "tune.epochs=many": ("tune.epochs", "'many'"),
    "tune.epochs": ("no key.sub=value",),
    "tune.epochs=[1": ("tune.epochs=[1", "line 1, column 3"),
    "tune.trainer={a: 1, a: 2}": ("duplicate key",),
    "tune.trainer={a: &x 1, b: *x}": ("alias",),
    "tune.trainer=!!python/object/apply:os.system [touch canary]": ("tag",),
    "base.source.kind=pickle": ("base.source", "pickle"),
}


@pytest.mark.parametrize("word", SETTINGS)
def test_a_wrong_setting_on_the_command_line_is_refused_by_name(word: str, toy: Path, cli: Run, workplace: Path) -> None:
    done = cli("plan", "toy", word)
    assert done.returncode == CONFIG, done.stderr
    for said in SETTINGS[word]:
        assert said in done.stderr
    assert_nothing_half_made(workplace, "")


@pytest.mark.parametrize(
    ("text", "said"), [("tune: {epoch: 2}", "'epochs'"), ("tune: {epochs: []}", "tune.epochs"), ("- tune", "no mapping")]
)
def test_a_wrong_config_file_is_refused_by_name(text: str, said: str, toy: Path, cli: Run, workplace: Path) -> None:
    (workplace / "mine.yaml").write_text(text)
    done = cli("plan", "toy", "--config", "mine.yaml")
    assert done.returncode == CONFIG
    assert said in done.stderr
    assert "mine.yaml" in done.stderr


def weightless(model: Path, canary: Path) -> str:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    return "pytorch_model.bin"


def renamed(model: Path, canary: Path) -> str:
    return "model.safetensors"


def coded(model: Path, canary: Path) -> str:
    (model / "modeling_x.py").write_text(f"open({str(canary)!r}, 'w')")
    return "modeling_x.py"


def mapped(model: Path, canary: Path) -> str:
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (model / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"AutoConfig": "modeling_x.X"}}))
    return "auto_map"


class Payload:
    """What runs when the pickle is read."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("make", [weightless, renamed, coded, mapped])
@pytest.mark.parametrize("command", ["plan", "adapt"])
def test_a_base_model_that_could_run_code_is_refused_and_runs_none(
    command: str, make: Callable[[Path, Path], str], toy: Path, cli: Run, workplace: Path
) -> None:
    model = workplace / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(pickle.dumps(Payload(workplace / "canary")))
    said = make(model, workplace / "canary")
    done = cli(command, "toy", f"base.source={{kind: folder, path: {model}}}")
    assert done.returncode == DATA, done.stderr
    assert said in done.stderr
    assert_nothing_half_made(workplace, "")


def test_a_line_of_200_megabytes_is_refused_without_being_read(toy: Path, workplace: Path) -> None:
    size = 200_000_000
    with (toy / "data/documents.jsonl").open("ab") as file:
        file.write(b'{"text": "' + b"x" * size + b'"}\n')
    # a small process in between: a child's peak memory counts what its parent held when it forked
    program = (
        "import resource, subprocess, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000, 3_000_000_000))\n"
        "code = subprocess.call([sys.executable, '-m', 'flows.cli', 'check', 'toy'], stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)\nsys.exit(code)"
    )
    environment = {**os.environ, "SLMFORGE_RUNS": str(workplace / "runs"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=workplace, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == DATA, done.stderr
    assert "documents.jsonl, row 202" in done.stderr
    assert int(done.stdout) < 2 * size  # text of that length alone would be that much
    (toy / "data/documents.jsonl").unlink()
    assert_nothing_half_made(workplace, "ingest")
