"""The law of the rooms: who may import what, how long a page may be, and what ships in the wheel."""

import ast
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

CODE = sorted([*(ROOT / "flows").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")])
# a heavy library -> the modules that may import it; stage bodies may name one lazily, flows never
IMPORTERS = {
    "prefect": {"tasks.lib.orchestrate", "tasks.lib.deployments"},
    "mlflow": {"tasks.lib.delivery", "tasks.lib.registry", "tasks.lib.tracking_store"},
    "great_expectations": {"tasks.lib.expectations", "tasks.lib.batch_results", "tasks.lib.data_docs", "tasks.lib.pack_expectations"},
    "lm_eval": {"tasks.lib.asking", "tasks.lib.scoring"},
    "rensa": {"tasks.lib.near"},
    "rdkit": {"tasks.lib.chemistry"},
    "stdnum": {"tasks.lib.finance", "tasks.lib.chemistry"},
    "torchao": {"tasks.lib.quantization"},
    "mergekit": {"tasks.lib.merging"},
    "peft": {"tasks.lib.adapters", "tasks.lib.handover"},
    "accelerate": {"tasks.lib.shares"},
    "deepspeed": {"tasks.lib.ranks"},
    "tokenizers": {"tasks.lib.models", "tasks.lib.mixture_plan"},
    "trl": {
        "tasks.lib.training",
        "tasks.lib.packing",
        "tasks.lib.policies",
        "tasks.lib.preferences",
        "tasks.lib.reinforcement",
        "tasks.lib.trainer_keys",
    },
    "matplotlib": {"tasks.lib.plots"},
    "jq": {"tasks.lib.reshape"},
    "openpyxl": {"tasks.lib.tables", "tasks.lib.sheets"},
    "pdfminer": {"tasks.lib.pdf"},
    "docx": {"tasks.lib.word"},
    "joblib": {"tasks.lib.parts"},
    "scipy": {"tasks.lib.drift", "tasks.lib.paired"},
    "huggingface_hub": {"tasks.lib.hub"},
    "botocore": {"tasks.lib.remote"},
    "fsspec": {"tasks.lib.remote", "tasks.lib.hub"},  # the hub's patterns are fsspec's
    "sqlalchemy": {"tasks.lib.delivery", "tasks.lib.queries"},
    "psycopg": {"tasks.lib.queries"},
    "sqlparse": {"tasks.lib.origins"},
}


def module(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("library", IMPORTERS)
def test_a_heavy_library_has_its_importers_and_no_others(library: str) -> None:
    assert {module(path) for path in CODE if library in imports(path)} == IMPORTERS[library]


def test_a_stage_imports_other_stages_only_for_what_they_make() -> None:
    """A stage never calls another: of another stage's module it takes classes and plain functions, not the stage."""
    stages = {path.stem for path in (ROOT / "tasks").glob("*.py")} - {"__init__"}
    for path in (ROOT / "tasks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").removeprefix("tasks.") in stages:
                taken = {alias.name for alias in node.names}
                assert (node.module or "").removeprefix("tasks.") not in taken, f"{path.name} imports the stage {node.module}"


def test_importing_every_flow_imports_no_torch() -> None:
    names = [module(path) for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__"]
    assert len(names) > 5
    program = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint([m for m in ('torch', 'transformers', 'mlflow', 'trl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_imports_almost_nothing_for_its_help() -> None:
    program = "import sys, flows.cli\nprint([m for m in ('pydantic', 'rich', 'prefect', 'torch', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pages_are_short() -> None:
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, f"{path} is over 300 lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno + 1 <= 50, f"{path}: {node.name} is over 50 lines"
                assert len(node.args.args) + len(node.args.kwonlyargs) <= 7, f"{path}: {node.name} has too many parameters"


def test_the_generated_reference_is_fresh() -> None:
    done = subprocess.run([sys.executable, "-m", "infra.docs", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def installed(wheel: Path, place: Path) -> Path:
    """An environment of its own with the wheel, which finds the libraries of this one; returns its folder of commands.

    What is installed in place in this environment is hidden: in a folder that a .pth file adds, other .pth files are not read.
    """
    python = place / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    site = subprocess.run([python, "-c", "import site; print(site.getsitepackages()[0])"], check=True, capture_output=True, text=True)
    paths = sysconfig.get_paths()
    (Path(site.stdout.strip()) / "libraries.pth").write_text(f"{paths['purelib']}\n{paths['platlib']}\n")
    return python.parent


def called(*command: str | Path, cwd: Path, runs: Path) -> str:
    """What a command prints that knows nothing of this process's paths."""
    environment = {"SLMFORGE_RUNS": str(runs), "PATH": "/usr/bin:/bin", "PREFECT_HOME": str(runs / "prefect")}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


WHERE = "import flows, tasks.lib.places as places; print(flows.__file__, places.__file__)"


@pytest.mark.long
def test_the_wheel_works_with_the_source_hidden(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"flows", "tasks", next(n for n in names if "dist-info" in n).split("/")[0]}
    assert {"tasks/lib/templates/report.html.jinja", "tasks/shipped/infra/deepspeed/zero3.json"} <= set(names)

    commands, empty, runs = installed(wheel, tmp_path / "environment"), tmp_path / "empty", tmp_path / "runs"
    empty.mkdir()
    lie = called(commands / "python", "-c", WHERE, cwd=empty, runs=runs).split()
    assert all(Path(file).is_relative_to(tmp_path / "environment") for file in lie), lie
    assert "adapt" in called(commands / "slmforge", "--help", cwd=empty, runs=runs)
    for words in (["plan", "healthcare", "--json", "--config", "demo"], ["check", "chemistry", "--json"]):
        assert called(commands / "slmforge", *words, cwd=empty, runs=runs).startswith("{")
    served = "from flows import served; print(served.__file__, served.retrain.name)"  # what a worker imports
    file, name = called(commands / "python", "-c", served, cwd=empty, runs=runs).split()
    assert (Path(file).is_relative_to(tmp_path / "environment"), name) == (True, "retrain")
    assert not list(empty.iterdir())


@pytest.mark.long
def test_an_editable_install_runs_the_checkout(tmp_path: Path) -> None:
    build = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    commands, runs = installed(wheel, tmp_path / "environment"), tmp_path / "runs"
    assert [Path(file) for file in called(commands / "python", "-c", WHERE, cwd=tmp_path, runs=runs).split()] == [
        ROOT / "flows/__init__.py",
        ROOT / "tasks/lib/places.py",
    ]
    assert called(commands / "slmforge", "plan", "healthcare", "--json", "--config", "demo", cwd=tmp_path, runs=runs).startswith("{")
