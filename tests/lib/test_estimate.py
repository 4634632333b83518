"""What a stage is expected to take: by the files of a model, by how data are read, by what was measured; and what the machine has."""

import json
import mmap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from flows.adapt import adapt
from flows.prepare import unjudged
from tasks.lib import estimate, machine, preflight, weights
from tasks.lib.domain import Dataset
from tasks.lib.errors import ConfigError
from tasks.lib.estimate import Given, Need
from tasks.lib.execute import Direct, Session
from tasks.lib.flow import Order
from tasks.lib.plan import PlanRow
from tasks.lib.sources import ResolvedDataset, SourceFile

GB = 1_000_000_000


def written(folder: Path, *, shards: bool = False) -> Path:
    """A model's folder of 60 numbers in bf16's width."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "text_config": {"vocab_size": 77}}))
    tensors = {"a": np.zeros((4, 10), np.float16), "b": np.zeros(20, np.float16)}
    if not shards:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = {name: f"model-{number}.safetensors" for number, name in enumerate(tensors)}
    for name, file in names.items():
        save_file({name: tensors[name]}, folder / file)
    save_file(tensors, folder / "consolidated.safetensors")  # the same weights once more, which nobody loads
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return folder


@pytest.mark.parametrize("shards", [False, True])
def test_a_model_is_as_large_as_the_headers_of_its_files_say(shards: bool, tmp_path: Path) -> None:
    folder = written(tmp_path / "model", shards=shards)
    found = weights.of(folder)
    assert found is not None
    assert (found.parameters, found.vocabulary) == (60, 77)
    assert 60 * 2 < found.bytes < 60 * 2 + 1_000
    (folder / "model.safetensors").write_bytes(b"\xff" * 20)
    assert weights.of(folder) is None


def test_the_weights_of_a_base_from_elsewhere_are_counted(toy: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder, and of a snapshot in the hub's cache; one that is not fetched is not known."""
    folder = written(workplace / "model")
    of_folder = adapt.job(Order("toy", None, (f"base.source={{kind: folder, path: {folder}}}",)))
    assert estimate.model(of_folder, adapt.plan(of_folder)) == weights.of(folder)
    snapshots = workplace / "hub/models--some--model/snapshots"
    written(snapshots / ("a" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(workplace / "hub"))
    found = []
    for digit in "ab":
        of_hub = adapt.job(Order("toy", None, (f"base.source={{kind: hub, model: some/model, revision: {digit * 40}}}",)))
        found.append(estimate.model(of_hub, adapt.plan(of_hub)))
    assert found == [weights.of(folder), None]


def of_bytes(folder: Path, name: str, size: int) -> ResolvedDataset:
    """A dataset in a file of so many bytes, none of which is on disk."""
    with (folder / name).open("wb") as file:
        file.truncate(size)
    card = {"name": "d", "role": "corpus", "source": {"path": name}, "licence": "CC0-1.0", "kind": "synthetic", "map": {"text": "{text}"}}
    source = SourceFile(name=name, sha256="0" * 64, bytes=size, path=folder / name)
    return ResolvedDataset.of(Dataset.model_validate(card), [source])


def data_stages(toy: Path, given: ResolvedDataset, rows: int, *words: str) -> dict[str, int]:
    """Bytes of memory of each data stage."""
    cfg = adapt.job(Order("toy", None, ("ingest.workers=2", "check.workers=2", *words))).cfg
    known = Given(weights.Size(0, 0, None), [given], Counter(corpus=rows))
    return {stage: estimate._need(PlanRow(stage, "run", ""), cfg, known).memory for stage in estimate.DATA}


def test_data_that_are_read_in_parts_do_not_need_the_memory_of_all_of_them(toy: Path, workplace: Path) -> None:
    large = of_bytes(workplace, "large.jsonl", 10 * GB)
    found = data_stages(toy, large, 2_500_000)
    assert all(0.2 * GB < memory < 2 * GB for stage, memory in found.items() if stage != "dedup"), found
    assert 5 * GB < found["dedup"] < 10 * GB, "it remembers a sketch of every document"
    assert data_stages(toy, large, 2_500_000, "dedup.near=false")["dedup"] < 2 * GB
    assert found["clean"] < data_stages(toy, large, 20)["clean"], "a batch of long documents is large"
    small = data_stages(toy, of_bytes(workplace, "small.jsonl", GB // 10), 100)
    assert small["check"] < found["check"], "processes begin with many files"
    assert data_stages(toy, of_bytes(workplace, "book.xlsx", GB // 2), 100)["ingest"] > 4 * GB, "a workbook is read as a whole"


def test_what_was_measured_counts_where_the_settings_are_the_same(toy: Path) -> None:
    unjudged.under(Direct(Session(domain="toy", flow="unjudged")), unjudged.job(Order("toy")))
    planner = adapt.plan(adapt.job(Order("toy", None, ("clean.min_chars=21", "split.valid=0.1"))))
    rows = {row.name: row for row in planner.rows}
    assert (rows["dedup"].alike, rows["clean"].alike, rows["split"].alike) == (True, False, False)
    needs = estimate.needs(adapt.job(Order("toy")), planner)
    assert needs["dedup"].memory == rows["dedup"].measured["peak_memory"]
    assert rows["dedup"].measured["peak_memory_since"] in ("the stage began", "the process began")
    assert needs["clean"].memory != rows["clean"].measured["peak_memory"]


def test_plan_and_adapt_say_the_same_of_what_the_machine_cannot_hold(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (toy / "expectations.yaml").unlink()
    job = adapt.job(Order("toy", None, ("pretrain.batch=1000000",)))
    planner = adapt.plan(job)
    (found,) = [fault.sentence() for fault in estimate.shortage(estimate.needs(job, planner))]
    assert found.startswith("pretrain: ")
    assert "GB of memory are needed" in found
    with pytest.raises(ConfigError) as caught:
        preflight.require(job, planner)
    assert f"pretrain: {caught.value.found.removeprefix('pretrain: ')}; to do: {caught.value.remedy}" == found
    assert [fault.stage for fault in estimate.shortage({"a": Need(1, 10**18), "b": Need(1, 1)})] == ["a"], "and of disk"
    # the weights and activations of a training on an accelerator are not in this machine's memory
    monkeypatch.setattr("tasks.lib.machine.ACCELERATORS", (str(toy),))
    assert not list(estimate.shortage(estimate.needs(job, planner)))


def test_memory_is_what_the_control_group_allows(tmp_path: Path) -> None:
    host = machine.memory(tmp_path / "none", tmp_path)
    assert host[1] == "the machine has"
    groups = tmp_path / "cgroup"
    (tmp_path / "two/app/inner").mkdir(parents=True)
    (tmp_path / "two/app/memory.max").write_text("2000000\n")
    (tmp_path / "two/app/inner/memory.max").write_text("max\n")
    groups.write_text("0::/app/inner\n")
    assert machine.memory(groups, tmp_path / "two") == (2_000_000, "its control group (cgroup) allows")
    (tmp_path / "one/memory").mkdir(parents=True)
    (tmp_path / "one/memory/memory.limit_in_bytes").write_text("3000000\n")
    groups.write_text("5:devices:/\n4:cpu,memory:/docker/away\n0::/\n")
    assert machine.memory(groups, tmp_path / "one")[0] == 3_000_000
    (tmp_path / "one/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert machine.memory(groups, tmp_path / "one") == host


def test_the_peak_of_memory_is_that_of_the_stage() -> None:
    if not machine.begin_peak():
        pytest.skip("the kernel does not let a process reset its peak")
    with mmap.mmap(-1, 400_000_000) as held:  # not of the heap, which a test before may have told to keep what is freed
        held[::4096] = b"x" * len(range(0, len(held), 4096))
        before = machine.peak(anew=True)
    assert machine.begin_peak()
    assert machine.peak(anew=True) < before - 300_000_000
