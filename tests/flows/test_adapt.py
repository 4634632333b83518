"""The whole pipeline on the toy domain, through the command line, Prefect and MLflow; then what must not run again."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.conftest import ROOT, slmforge

STAGES = ["ingest", "check", "clean", "dedup", "split", "base", "pretrain", "tune", "align", "distill", "quantize"]
SCORED = ["base", "pretrain", "tune", "align", "distill", "quantize"]
ALL = [*STAGES, *(f"evaluate:{name}" for name in SCORED), "register", "report"]


@pytest.fixture
def copy(adapted: Path, tmp_path: Path) -> Path:
    """The adapted working directory, moved elsewhere: a test may change it."""
    place = tmp_path / "moved"
    shutil.copytree(adapted, place)
    return place


def planned(place: Path, *words: str) -> dict[str, dict[str, Any]]:
    """The plan's stages by name."""
    done = slmforge("plan", "toy", "--json", *words, cwd=place)
    assert done.returncode == 0, done.stderr
    return {row["stage"]: row for row in json.loads(done.stdout)["stages"]}


def to_run(place: Path, *words: str) -> list[str]:
    """Names of the stages that would run."""
    return [name for name, row in planned(place, *words).items() if row["state"] == "run"]


def test_a_second_run_does_nothing_and_imports_neither_torch_nor_prefect(adapted: Path) -> None:
    program = (
        "import sys\nfrom flows.cli import main\nmain(['adapt', 'toy'], standalone_mode=False)\n"
        "print([m for m in ('torch', 'prefect', 'mlflow', 'transformers', 'great_expectations') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=adapted, capture_output=True, text=True, check=True,
        env={"SLMFORGE_RUNS": str(adapted / "runs"), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert f"nothing to do: {len(ALL)} stages cached" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_benchmark_tells_where_the_seconds_of_a_cached_run_go(adapted: Path) -> None:
    command = [sys.executable, "-m", "infra.bench_cached", str(time.time()), "adapt", "toy"]
    environment = {**os.environ, "SLMFORGE_RUNS": str(adapted / "runs"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=adapted, env=environment, capture_output=True, text=True, check=True)
    parts = json.loads(done.stdout.splitlines()[-1])["parts"]
    assert len(parts) == 6
    assert all(seconds > 0 for seconds in parts.values())


def test_the_plan_names_every_stage_as_cached(adapted: Path) -> None:
    rows = planned(adapted)
    assert list(rows) == ALL
    assert {row["state"] for row in rows.values()} == {"cached"}


def test_machines_are_told_of_a_cached_run_and_its_scores_as_people_are(adapted: Path) -> None:
    told = json.loads(slmforge("adapt", "toy", "--json", cwd=adapted).stdout)
    assert [(row["stage"], row["state"]) for row in told["stages"]] == [(name, "cached") for name in ALL]
    assert [scored["subject"] for scored in told["scores"]] == SCORED
    version = json.loads(next((adapted / "runs/artifacts/register").glob("*/artifact.json")).read_text())["facts"]
    assert told["version"] == version
    assert Path(told["report"]).is_file()
    # the base is scored already: nothing is started for it
    scored = json.loads(slmforge("evaluate", "toy", "--json", cwd=adapted).stdout)
    assert (scored["scores"], scored["stages"][-1]["stage"]) == (told["scores"][:1], "evaluate:base")
    said = " ".join(slmforge("evaluate", "toy", cwd=adapted).stdout.split())
    (base,) = scored["scores"]
    assert f"domain bits per byte {base['domain_bits_per_byte']:.3f} general bits per byte {base['general_bits_per_byte']:.3f}" in said
    assert f"colour acc {base['tasks'][0]['value']:.3f}" in said
    known = json.loads(slmforge("why", "toy", "tune", "--json", cwd=adapted).stdout)
    assert (known["stages"][0]["cause"], known["first_cause"]) == ("it has not run before in this domain", None)


def test_runtime_fields_and_a_moved_folder_run_nothing_again(copy: Path) -> None:
    assert to_run(copy, "pretrain.workers=1", "tune.device=cpu", "evaluate.batch=4", "check.docs=true") == []


def test_a_changed_align_field_runs_align_and_what_follows(copy: Path) -> None:
    rows = planned(copy, "align.method.beta=0.3")
    wanted = ["align", "distill", "quantize", "evaluate:align", "evaluate:distill", "evaluate:quantize", "register", "report"]
    assert [name for name, row in rows.items() if row["state"] == "run"] == wanted
    assert rows["align"]["reason"] == "config.method.beta: 0.1 -> 0.3"
    said = slmforge("why", "toy", "align", "align.method.beta=0.3", cwd=copy).stdout
    assert "config.method.beta: 0.1 -> 0.3" in said
    assert "the first cause: align" in slmforge("why", "toy", "register", "align.method.beta=0.3", cwd=copy).stdout
    told = json.loads(slmforge("why", "toy", "register", "align.method.beta=0.3", "--json", cwd=copy).stdout)
    assert [(row["stage"], row["state"]) for row in told["stages"]] == [("register", "run")]
    assert told["first_cause"] == {"stage": "align", "reason": "config.method.beta: 0.1 -> 0.3"}


def test_one_added_row_runs_from_ingest_and_not_the_base(copy: Path) -> None:
    with (copy / "domains/toy/data/colours.csv").open("a") as file:
        file.write("What colour is stone number 7?,red\n")
    rows = planned(copy)
    assert [name for name, row in rows.items() if row["state"] == "cached"] == ["base", "evaluate:base"][:1]
    assert "datasets.colours.sha256: content changed" in rows["ingest"]["reason"]
    said = slmforge("why", "toy", "ingest", cwd=copy).stdout
    assert "inputs.sources.datasets.colours" in said


def test_a_deleted_artifact_is_made_again_and_what_follows_stays(copy: Path) -> None:
    gone = planned(copy)["clean"]["id"]
    shutil.rmtree(copy / "runs/artifacts" / gone)
    assert planned(copy)["clean"]["reason"] == "its artifact is gone from the store"
    done = slmforge("adapt", "toy", "--json", cwd=copy)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    stages = {row["stage"]: row for row in told["stages"]}
    assert {name: row["state"] for name, row in stages.items()} == {**dict.fromkeys(ALL, "cached"), "clean": "made"}
    assert (stages["clean"]["id"], stages["clean"]["reason"]) == (gone, "its artifact is gone from the store")
    assert stages["clean"]["seconds"] > 0
    assert (told["version"]["version"], told["report"]) == ("1", str(copy / "runs/reports/toy.html"))
    names_the_runs_that_made_what_is_cached(MlflowClient(f"sqlite:///{copy / 'runs/tracking/mlflow.db'}"))


def names_the_runs_that_made_what_is_cached(mlflow: MlflowClient) -> None:
    """The second run of the flow has a child for the stage that it made; its tags and description lead to the first's for the rest."""
    runs = mlflow.search_runs([mlflow.get_experiment_by_name("toy").experiment_id], order_by=["attributes.start_time ASC"])
    first, second = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children: dict[str, dict[str, str]] = {first.info.run_id: {}, second.info.run_id: {}}
    for run in runs:
        if parent := run.data.tags.get("mlflow.parentRunId"):
            children[parent][run.info.run_name] = run.info.run_id
    assert set(children[second.info.run_id]) == {"clean"}
    cached = {k.removeprefix("slmforge.cached."): json.loads(v) for k, v in second.data.tags.items() if k.startswith("slmforge.cached.")}
    assert cached.keys() == set(ALL) - {"clean"}
    made = children[first.info.run_id]
    assert {name: told["mlflow_run"] for name, told in cached.items()} == {name: run for name, run in made.items() if name != "clean"}
    _, _, *lines = second.data.tags["mlflow.note.content"].splitlines()  # what MLflow shows as the run's description
    shown = {name: (state, run) for name, state, _, run in ([cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines)}
    assert shown == {name: ("cached", run) for name, run in made.items()} | {"clean": ("made", "below this one")}


def test_a_plan_with_a_blocker_ends_with_its_own_exit_code(copy: Path) -> None:
    card = copy / "domains/toy/domain.yaml"
    card.write_text("\n".join(line for line in card.read_text().splitlines() if "name: ratings" not in line))
    done = slmforge("plan", "toy", cwd=copy)
    assert done.returncode == 5
    assert "align: no dataset with role preference" in done.stdout


@pytest.fixture(scope="module")
def mlflow(adapted: Path) -> MlflowClient:
    """The default store of the adapted working directory."""
    return MlflowClient(f"sqlite:///{adapted / 'runs/tracking/mlflow.db'}")


def test_mlflow_has_a_parent_run_with_a_child_run_for_every_stage(mlflow: MlflowClient, adapted: Path) -> None:
    experiment = mlflow.get_experiment_by_name("toy")
    runs = mlflow.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    children = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id}
    assert sorted(children) == sorted(ALL)
    assert {run.info.status for run in runs} == {"FINISHED"}
    tuned = children["tune"]
    assert tuned.data.params["epochs"] == "1.0"
    assert len(mlflow.get_metric_history(tuned.info.run_id, "loss")) > 5
    record = json.loads(next((adapted / "runs/artifacts/tune").glob("*/artifact.json")).read_text())
    inputs = {tag.value: given.dataset.digest for given in tuned.inputs.dataset_inputs for tag in given.tags}
    assert inputs == {name: record["inputs"][name]["digest"][:36] for name in ("model", "data")}  # as much as MLflow's column holds
    assert {"slmforge.digest", "slmforge.artifact", "prefect.flow_run_id", "prefect.task_run_id"} <= tuned.data.tags.keys()
    files = {entry.path for entry in mlflow.list_artifacts(tuned.info.run_id)}
    assert "artifact.json" in files
    sources = {given.dataset.name: given.dataset for given in children["ingest"].inputs.dataset_inputs}
    assert sources.keys() == {"documents", "colours", "ratings", "general"}
    content = hashlib.sha256((adapted / "domains/toy/data/colours.csv").read_bytes()).hexdigest()
    assert (sources["colours"].digest, json.loads(sources["colours"].source)["sha256"]) == (content[:36], content)


def test_the_model_version_carries_a_lineage_back_to_every_source_file(mlflow: MlflowClient, adapted: Path, tmp_path: Path) -> None:
    version = mlflow.get_model_version("toy", "1")
    file = mlflow.download_artifacts(version.run_id, "evidence/lineage.json", str(tmp_path))
    lineage = json.loads(Path(file).read_text())
    from tasks.lib import digests

    assert digests.of_text(Path(file).read_text()) == version.tags["slmforge.lineage_sha256"]
    by_name = {source["dataset"]: source for source in lineage["sources"]}
    assert by_name["colours"]["sha256"] == digests.of_file(adapted / "domains/toy/data/colours.csv")
    assert by_name["colours"]["licence"] == "CC0-1.0"
    assert {record["stage"] for record in lineage["stages"].values()} == {*STAGES, "evaluate"}
    trained = next(record for record in lineage["stages"].values() if record["stage"] == "tune")
    assert trained["config"]["seed"] == 42
    assert trained["libraries"]["torch"].startswith("2.")
    assert trained["made"]["commit"]
    assert {gap["fact"] for gap in lineage["unknown"]} >= {"approval", "energy"}


def test_the_registered_model_loads_and_answers(mlflow: MlflowClient, adapted: Path) -> None:
    import mlflow.transformers as flavour
    from mlflow import set_tracking_uri

    set_tracking_uri(f"sqlite:///{adapted / 'runs/tracking/mlflow.db'}")
    pipeline = flavour.load_model("models:/toy/1")
    answer = pipeline("alpha beta", max_new_tokens=3)
    assert answer[0]["generated_text"].startswith("alpha beta")


def test_the_registered_files_name_no_address_that_was_made_up(mlflow: MlflowClient, adapted: Path, tmp_path: Path) -> None:
    folder = Path(mlflow.download_artifacts(mlflow.get_model_version("toy", "1").run_id, "model", str(tmp_path)))
    assert {file.name for file in folder.iterdir()} == {
        "MLmodel", "components", "conda.yaml", "model", "python_env.yaml", "requirements.txt",
    }  # fmt: skip
    texts = [file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.suffix != ".safetensors"]
    assert texts
    assert not any(b"huggingface.co" in text for text in texts)


def test_prefect_shows_the_flow_its_tasks_and_their_artifacts(adapted: Path) -> None:
    """Read from the server's own database, after the server has ended with the run."""
    import sqlite3

    with sqlite3.connect(adapted / "runs/prefect/prefect.db") as store:
        links = store.execute("select data from artifact where type = 'link'").fetchall()
        flows = store.execute("select name, state_type from flow_run").fetchall()
        tasks = dict(store.execute("select name, state_type from task_run").fetchall())
        pages = dict(store.execute("select key, data from artifact where type = 'markdown'").fetchall())
    assert ("adapt-toy", "COMPLETED") in flows
    assert links == [], "there is no page to link to"
    assert set(tasks) == set(ALL)
    assert set(tasks.values()) == {"COMPLETED"}
    assert {"toy-tune", "toy-adapt"} <= set(pages)
    assert str(adapted / "runs/artifacts/report") in pages["toy-adapt"]
    assert not any("](file:" in page or "file://" in page for page in pages.values()), "browsers open no file from a server's page"


def test_the_report_is_one_file_that_names_every_model(adapted: Path) -> None:
    html = (adapted / "runs/reports/toy.html").read_text()
    assert "<script" not in html
    for name in ("base", "pretrained", "tuned", "aligned", "student", "quantised"):
        assert name in html.lower()
    assert len(re.findall(r"<td>cpu, \d+ threads?, \w+</td>", html)) == len(SCORED)  # where latency was measured


def test_a_weight_in_the_card_trains_again_what_draws_by_it_and_reads_nothing_again(copy: Path) -> None:
    card = copy / "domains/toy/domain.yaml"
    card.write_text(card.read_text().replace("    role: tune\n", "    role: tune\n    weight: 2\n"))
    stages = {name: row["state"] for name, row in planned(copy).items()}
    assert {name for name, state in stages.items() if state == "cached"} >= {"ingest", "split", "base", "pretrain"}
    assert {stages[name] for name in ("tune", "align", "distill")} == {"run"}


def test_the_plan_tells_what_will_be_drawn_and_comes_close(adapted: Path) -> None:
    told = json.loads(slmforge("plan", "toy", "--json", cwd=adapted).stdout)["draws"]
    assert {share["stage"] for share in told} == {"pretrain", "tune", "align", "distill"}
    for stage in ("pretrain", "tune", "align", "distill"):
        (record,) = (adapted / "runs" / "artifacts" / stage).glob("*/artifact.json")
        drawn = json.loads(record.read_text())["facts"]["drawn"]
        shares = {share["dataset"]: share for share in told if share["stage"] == stage}
        assert {name: share["rows"] for name, share in shares.items()} == {name: known["rows"] for name, known in drawn.items()}
        # which documents are replayed is drawn, and some are long: of those only the sum is near
        replayed = {"documents", "general"} if stage == "tune" else {"general"}
        for names in [replayed & set(drawn), *({name} for name in set(drawn) - replayed)]:
            for key in ("size", "trained"):
                planned, real = sum(shares[name][key] for name in names), sum(drawn[name][key] for name in names)
                assert planned == pytest.approx(real, rel=0.15), (stage, names, key)


@pytest.mark.long
def test_trials_of_a_search_are_run_scored_and_compared_beside_what_was_made_before(copy: Path) -> None:
    done = slmforge("sweep", "toy", "--over", "pretrain.epochs=[0.05, 1.0]", "--by", "domain_bits_per_byte", "--json", cwd=copy)
    assert done.returncode == 0, done.stderr
    brief, whole = json.loads(done.stdout)["trials"]
    assert whole["best"]
    assert not brief["best"]
    assert whole["scores"]["domain_bits_per_byte"] < brief["scores"]["domain_bits_per_byte"]
    made = {
        stage: len(list((copy / "runs/artifacts" / stage).glob("*/artifact.json"))) for stage in ("base", "pretrain", "tune", "evaluate")
    }
    assert made == {"base": 1, "pretrain": 2, "tune": 1, "evaluate": len(SCORED) + 1}
