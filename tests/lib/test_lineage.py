"""The lineage says what is declared and judged now; a version that is found again keeps the lineage it was registered with."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.adapt import adapt
from flows.prepare import prepare
from tasks.check import Checked
from tasks.evaluate import Scores
from tasks.lib import delivery, digests, lineage, local_registry, places, provenance, registry, store, tracking, tracking_store, verifying
from tasks.lib.errors import ConfigError, StageError
from tasks.lib.execute import Direct, Session
from tasks.lib.flow import Job, Order
from tasks.lib.model import Model
from tasks.lib.plan import Planner
from tasks.lib.stage import Call
from tasks.lib.store import Artifact, Record
from tasks.register import Version, register
from tasks.split import Split
from tests.conftest import ROOT, git

DATA_STAGES = ("ingest", "check", "clean", "dedup", "split")
PUBLISHED = "https://example.org/colours.csv"


class Sketch:
    """Makes the data for real; of everything that is dear it makes up an artifact whose content is its inputs."""

    def __init__(self) -> None:
        self.direct = Direct(Session(domain="toy", flow="adapt"))
        self.identifiers: dict[str, str] = {}

    def call(self, call: Call) -> Any:
        self.identifiers[call.name] = call.identifier()
        if call.stage.name in DATA_STAGES:
            return self.direct.call(call)
        return call.stage.output.model_construct(id=call.identifier(), digest=digests.of_value(call.identity()))


def sketched(*settings: str, mirror: Path | None = None) -> dict[str, str]:
    """The page of `adapt` with its data made: the identifier of every call."""
    sketch = Sketch()
    order = Order("toy", settings=settings, mirror=None if mirror is None else str(mirror), edition="starter")
    adapt.under(sketch, adapt.job(order))
    return sketch.identifiers


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_other_expectations_reach_the_version_and_the_report_though_the_data_stay_the_same(toy: Path) -> None:
    before = sketched()
    edit(toy / "expectations.yaml", "column: prompt", "column: prompt, mostly: 0.5")
    assert changed(before, sketched()) == {"check", "register", "report"}


def publish(toy: Path) -> Path:
    """Turn the toy's questions into a published source that a mirror holds; returns the mirror."""
    mirror = toy.parent.parent / "mirror"
    mirror.mkdir()
    shutil.move(toy / "data" / "colours.csv", mirror / "published.csv")
    source = f"source: {{url: '{PUBLISHED}', sha256: {digests.of_file(mirror / 'published.csv')}}}\n    title: Colours"
    edit(toy / "domain.yaml", "source: {path: data/colours.csv}", source)
    return mirror


@pytest.mark.parametrize(
    ("old", "new"), [("title: Colours", "title: Colours of things"), (PUBLISHED, "https://example.com/moved/colours.csv")]
)
def test_a_corrected_card_reaches_the_version_though_the_data_stay_the_same(toy: Path, old: str, new: str) -> None:
    mirror = publish(toy)
    before = sketched(mirror=mirror)
    edit(toy / "domain.yaml", old, new)
    assert {"register", "report"} <= changed(before, sketched(mirror=mirror)) <= {"ingest", "register", "report"}


def test_the_same_domain_in_another_place_is_the_same_version(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = sketched()
    elsewhere = toy.parent.parent / "elsewhere"
    shutil.copytree(toy.parent, elsewhere / "domains")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("SLMFORGE_RUNS", str(elsewhere / "runs"))
    assert sketched() == here


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a few thousand weights."""
    import torch

    from tasks.lib import models

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    tokenizer = models.train_tokenizer(["alpha beta gamma delta what colour is the apple or river?"] * 20, 300)
    models.save(models.new_decoder(tokenizer, 64, 2, 4, 256), tokenizer, folder)
    return folder


def keep(artifact: Artifact, content: Path | None, **inputs: Any) -> Any:
    """Commit an artifact that no stage made."""
    folder = store.workspace(artifact.id)
    if content is not None:
        shutil.copytree(content, folder, dirs_exist_ok=True)
    facts, files = artifact.model_dump(mode="json", exclude={"id", "digest"}), store.list_files(folder)
    record = Record(
        stage=artifact.stage, version="1", id=artifact.id, digest=store.content_digest(files, facts), identity={}, config={},
        inputs={key: {"id": given.id, "digest": given.digest} for key, given in inputs.items()}, facts=facts, measured={}, files=files,
        libraries={}, made={"ended": "2026-11-21T00:00:00+00:00", "commit": "c" * 40},
    )  # fmt: skip
    store.commit(folder, record)
    return artifact.model_copy(update={"digest": record.digest})


class Made:
    """Data and verdicts made for real, and a small model with scores beside them."""

    def __init__(self, weights: Path, order: Order) -> None:
        writer = tracking.RunWriter("toy", "prepare", None, {})
        self.session = Session(domain="toy", flow="prepare", writer=writer, provenance=provenance.provenance())
        self.job: Job[Any] = prepare.job(order)
        self.data: Split = prepare.under(Direct(self.session), self.job)
        self.checked: Checked = next(e.artifact for e in self.session.events if e.name == "check" and e.artifact)  # type: ignore[assignment]
        facts: dict[str, Any] = {"parameters": 1, "vocabulary": 300, "bytes": 1}
        self.model: Model = keep(Model(id="tune/1", **facts), weights, data=self.data)
        empty: dict[str, Any] = {"domain_bits_per_byte": None, "general_bits_per_byte": None, "tasks": [], "answers": []}
        scores = Scores(id="evaluate/1", subject="tune", weight_bytes=1, parameters=1, **empty)
        self.scores: tuple[Scores, ...] = (keep(scores, None, data=self.data, model=self.model),)
        self.declared = lineage.declare(self.job.domain.duties, self.job.sources)

    def lineage(self) -> dict[str, Any]:
        return lineage.build(self.declared, self.checked, self.model, self.scores, self.data)

    @property
    def call(self) -> Call:
        given = {"declared": self.declared, "checked": self.checked, "model": self.model, "scores": self.scores, "data": self.data}
        return Call(register, {"cfg": register.config_type(), **given})  # type: ignore[arg-type]  # Stage[P, A] is invariant in P; Call takes any stage

    def register(self) -> Version:
        return Direct(self.session).call(self.call)  # type: ignore[return-value]  # a runner returns any artifact


def test_the_lineage_holds_the_verdicts_of_now_and_the_address_of_every_source(toy: Path, weights: Path) -> None:
    mirror = publish(toy)
    order = Order("toy", mirror=str(mirror), edition="starter")
    Made(weights, order)
    edit(toy / "expectations.yaml", "column: prompt", "column: prompt, mostly: 0.5")
    edit(toy / "domain.yaml", "title: Colours", "title: Colours of things")
    second = Made(weights, order)
    found = second.lineage()
    assert [check["kwargs"] for check in found["checks"]] == [{"column": "prompt", "mostly": 0.5}]
    assert found["check"] == {"artifact": second.checked.id, "digest": second.checked.digest}
    assert second.checked.id in found["stages"]
    colours = next(source for source in found["sources"] if source["dataset"] == "colours")
    assert colours["title"] == "Colours of things"
    assert colours["source"] == {"url": PUBLISHED, "sha256": digests.of_file(mirror / "published.csv")}
    assert colours["licence"] == "CC0-1.0"
    assert colours["bytes"] == (mirror / "published.csv").stat().st_size
    assert colours["rows_in"] == colours["rows_used"] + sum(colours["set_aside"].values())


def test_the_registered_lineage_holds_the_commit_and_what_differed_from_it(
    toy: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a real checkout: the toy's card and expectations are its code."""
    checkout = toy.parent.parent
    (checkout / ".gitignore").write_text("runs/\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        git(checkout, *words)
    monkeypatch.setattr(places, "CHECKOUT", checkout)
    commit = git(checkout, "rev-parse", "HEAD")

    clean = Made(weights, Order("toy")).lineage()
    ran = [record["made"] for record in clean["stages"].values() if record["stage"] in DATA_STAGES]
    assert [(made["commit"], made["commit_dirty_sha256"]) for made in ran] == [(commit, None)] * len(DATA_STAGES)
    assert clean["diffs"] == {}
    assert lineage.COMMIT not in {gap["fact"] for gap in clean["unknown"]}

    edit(toy / "expectations.yaml", "column: prompt", "column: prompt, mostly: 0.5")
    dirty = json.loads((Made(weights, Order("toy")).register().path / "lineage.json").read_text())
    ((digest, text),) = dirty["diffs"].items()
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    assert "\n+  - expect_column_values_to_not_be_null: {column: prompt, mostly: 0.5}\n" in text
    ran = {record["stage"]: record["made"] for record in dirty["stages"].values() if record["stage"] in DATA_STAGES}
    assert {made["commit"] for made in ran.values()} == {commit}
    assert {stage: made["commit_dirty_sha256"] for stage, made in ran.items()} == {**dict.fromkeys(DATA_STAGES), "check": digest}


def test_the_readme_lists_what_is_unknown_in_the_same_words(toy: Path, weights: Path) -> None:
    text = (ROOT / "README.md").read_text().split("lists under `unknown`")[1].split("In full:")[1]
    listed = [" ".join(item.split()).replace("`", "") for item in text.split("\n\n")[1].removeprefix("- ").split("\n- ")]
    gaps = {gap["fact"]: gap["reason"] for gap in Made(weights, Order("toy")).lineage()["unknown"]}
    reasons = {**gaps, lineage.COMMIT: "only where a stage ran from code that is not known to the last byte; the reason says why"}
    assert listed == [f"{fact}: {reasons[fact]}." for fact in [*lineage.UNKNOWN, lineage.COMMIT]]
    assert gaps.keys() - {lineage.COMMIT} == lineage.UNKNOWN.keys()


def test_the_record_of_ingest_and_its_mlflow_run_hold_the_address(toy: Path, weights: Path) -> None:
    made = Made(weights, Order("toy", mirror=str(publish(toy)), edition="starter"))
    record = next(e.record for e in made.session.events if e.name == "ingest" and e.record)
    by_name = {given["dataset"]["name"]: given["dataset"] for given in record.inputs["sources"]["datasets"]}
    assert by_name["colours"]["source"]["url"] == PUBLISHED
    made.session.writer.end("FINISHED")  # type: ignore[union-attr]  # it has one
    assert delivery.deliver() == 0
    mlflow = MlflowClient(tracking_store.tracking_uri())
    runs = mlflow.search_runs([mlflow.get_experiment_by_name("toy").experiment_id], "attributes.run_name = 'ingest'")
    sources = {given.dataset.name: json.loads(given.dataset.source) for run in runs for given in run.inputs.dataset_inputs}
    assert sources["colours"]["source"]["url"] == PUBLISHED


def test_a_version_that_is_found_again_keeps_its_own_lineage(
    toy: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry is elsewhere, what is beside its files is lost, and everything is made again with the same content."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    first = Made(weights, Order("toy")).register()
    mlflow = MlflowClient(tracking_store.tracking_uri())
    (version,) = mlflow.search_model_versions("name = 'toy'")
    assert digests.of_file(first.path / "lineage.json") == first.lineage_sha256 == version.tags["slmforge.lineage_sha256"]

    for lost in ("artifacts", "domains", "spool"):
        shutil.rmtree(tmp_path / "runs" / lost)
    again = Made(weights, Order("toy")).register()
    assert [found.version for found in mlflow.search_model_versions("name = 'toy'")] == [version.version]
    assert (again.version, again.lineage_sha256) == (first.version, first.lineage_sha256)
    assert digests.of_file(again.path / "lineage.json") == again.lineage_sha256
    other = json.loads((again.path / "lineage-of-this-run.json").read_text())
    assert other["stages"] != json.loads((again.path / "lineage.json").read_text())["stages"]
    record = store.find(again.id)
    assert record is not None
    assert "registered before" in record.measured["found_again"]

    shutil.rmtree(tmp_path / "runs" / "artifacts" / "register")
    mlflow.set_model_version_tag("toy", version.version, "slmforge.lineage_sha256", "0" * 64)
    with pytest.raises(StageError, match="changed or lost in MLflow"):
        Made(weights, Order("toy")).register()


def test_what_the_registry_refuses_is_no_server_that_is_away(toy: Path, weights: Path) -> None:
    made = Made(weights, Order("toy"))
    delivery.deliver()
    mlflow = MlflowClient(tracking_store.tracking_uri())
    experiment = mlflow.get_experiment_by_name("toy").experiment_id
    mlflow.delete_experiment(experiment)
    with pytest.raises(StageError, match=f"mlflow experiments restore -x {experiment}"):
        made.register()
    with pytest.raises(StageError, match="MLflow refuses"):
        registry.register("a/b", made.model.path, made.checked.path, {registry.KEY: "1", registry.TAG: "2"})
    mlflow.restore_experiment(experiment)
    assert made.register().version == "1"


def test_a_disk_that_takes_no_copy_of_the_model_is_no_server_that_is_away(toy: Path, weights: Path) -> None:
    made = Made(weights, Order("toy"))
    with pytest.raises(StageError, match=r"(?s)a copy of .*Not a directory.*see whether the disk is full"):
        registry._packed(made.model.path, Path("/dev/null/model"))


def test_a_version_of_another_store_is_gone_and_is_registered_in_the_one_that_is_set(
    toy: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(made: Made) -> tuple[str, str]:
        planner = Planner("toy")
        planner.call(made.call)
        return planner.rows[0].state, planner.rows[0].reason

    here = Made(weights, Order("toy"))
    first = here.register()
    assert planned(here)[0] == "cached"
    uri = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    said = f"it was registered in the default store below the runs folder, and {uri} is set now"
    assert planned(here) == ("run", said)
    assert next(one["registry"] for one in verifying.verify([first.id]).versions) == f"not compared: {said}"
    there = Made(weights, Order("toy"))
    second = there.register()
    record = store.find(second.id)
    assert record is not None
    assert (second.id, record.made["cause"], record.measured["registered_in"]) == (first.id, said, uri)
    assert second.digest != first.digest, "the run is another one: what follows is made again"
    mlflow = MlflowClient(uri)
    assert [(str(found.version), found.run_id) for found in mlflow.search_model_versions("name = 'toy'")] == [("1", second.run)]
    assert planned(there)[0] == "cached"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    again = Made(weights, Order("toy")).register()
    assert (again.version, again.run) == (first.version, first.run), "it is found, not registered twice"
    mlflow.delete_model_version("toy", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert local_registry.missing_version("toy", "1") == "version 1 is gone from the model registry"


@pytest.mark.parametrize("name", ["it's", 'say "so"', "a/b", "a:b", ""])
def test_a_name_that_no_registry_takes_is_refused_before_any_work(toy: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"register\.name"):
        adapt.job(Order("toy", settings=(f"register.name={json.dumps(name)}",)))
