"""Any model on a domain's suite: from a folder, and from the hub's local cache at a pinned revision."""

import json
import shutil
from pathlib import Path

import pytest

from flows.prepare import prepare
from tasks.base import BaseConfig, Folder, base
from tasks.evaluate import EvaluateConfig, evaluate
from tasks.lib.base_source import resolve
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tasks.quantize import QuantizeConfig, quantize
from tasks.split import Split
from tests.conftest import slmforge, write_toy

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as another project would write it: random weights, its own tokenizer."""
    import torch

    from tasks.lib import models

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    tokenizer = models.train_tokenizer(["alpha beta gamma delta what colour is the apple or river?"] * 20, 300)
    models.save(models.new_decoder(tokenizer, 64, 2, 4, 256), tokenizer, folder)
    return folder


def hub_cache(model: Path, home: Path) -> None:
    """The layout of the hub's cache: blobs by name, snapshots as links, refs."""
    place = home / "hub" / "models--someone--tiny"
    snapshot = place / "snapshots" / REVISION
    (place / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(REVISION)
    for file in model.iterdir():
        shutil.copyfile(file, place / "blobs" / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")


@pytest.mark.slow
def test_a_folder_and_the_hub_cache_give_the_same_scores(model: Path, tmp_path: Path) -> None:
    write_toy(tmp_path)
    home = tmp_path / "own"
    home.mkdir()
    homes = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "HF_HOME": str(home / "hf")}
    folder = slmforge("evaluate", "toy", "--model", str(model), cwd=tmp_path, **homes)
    assert folder.returncode == 0, folder.stderr + folder.stdout
    assert "acc" in folder.stdout
    assert not (home / "hf").exists(), "evaluation rows stay in the runs folder"
    assert not [file for file in home.rglob("*") if file.is_file() and b"What colour" in file.read_bytes()]
    hub_cache(model, tmp_path / "home")
    source = f"base.source={{kind: hub, model: someone/tiny, revision: {REVISION}}}"
    hub = slmforge("evaluate", "toy", source, cwd=tmp_path, HF_HOME=str(tmp_path / "home"))
    assert hub.returncode == 0, hub.stderr + hub.stdout
    assert folder.stdout.splitlines()[-1] == hub.stdout.splitlines()[-1]
    evaluated = list((tmp_path / "runs/artifacts/evaluate").glob("*/artifact.json"))
    assert len(evaluated) == 1, "the same content from another place is the same model"


def test_a_revision_that_is_not_at_hand_is_refused_with_a_remedy(tmp_path: Path) -> None:
    write_toy(tmp_path)
    source = f"base.source={{kind: hub, model: someone/tiny, revision: {'f' * 40}}}"
    done = slmforge("evaluate", "toy", source, cwd=tmp_path, HF_HOME=str(tmp_path / "home"))
    assert done.returncode == 3
    assert "not in the local hub cache" in done.stderr
    assert "HF_HUB_OFFLINE=0" in done.stderr


def test_a_model_that_is_not_there_is_told_as_it_was_given(tmp_path: Path) -> None:
    write_toy(tmp_path)
    done = slmforge("evaluate", "toy", "--model", "tune/0123", cwd=tmp_path)
    assert done.returncode == 2
    assert "--model tune/0123" in done.stderr
    assert "models of toy there: none" in done.stderr
    assert "base.source" not in done.stderr


def test_a_branch_name_is_no_pinned_revision(tmp_path: Path) -> None:
    write_toy(tmp_path)
    done = slmforge("plan", "toy", "base.source={kind: hub, model: someone/tiny, revision: main}", cwd=tmp_path)
    assert done.returncode == 2
    assert "revision" in done.stderr


@pytest.mark.slow
def test_the_shipped_model_is_scored_from_our_own_store_as_in_the_pipeline(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLMFORGE_RUNS", str(tmp_path / "runs"))
    write_toy(tmp_path)
    job, given = prepare.job(Order("toy")), Folder(kind="folder", path=model)
    small = quantize(QuantizeConfig(), base(BaseConfig(source=given), resolve(given)))
    data: Split = prepare.under(Direct(), job)
    wanted = evaluate(EvaluateConfig(texts=10, limit=10, length=128), job.domain.suite, data, small)
    done = slmforge("evaluate", "toy", "--model", small.id, cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert all(part in done.stdout for part in wanted.tasks[0].sentence().split("; "))
    assert "always the most frequent label of training" in done.stdout
    files = (tmp_path / "runs/artifacts/evaluate").glob("*/artifact.json")
    facts = [json.loads(file.read_text())["facts"] for file in files if file.parent.name not in wanted.id]
    kept = ("tasks", "answers", "domain_bits_per_byte", "general_bits_per_byte", "parameters")
    assert [{key: fact[key] for key in kept} for fact in facts] == [wanted.model_dump(mode="json", include=set(kept))]

    shutil.copytree(small.path, tmp_path / "elsewhere")
    refused = slmforge("evaluate", "toy", "--model", "elsewhere", cwd=tmp_path)
    assert refused.returncode == 3
    assert "quantization_config" in refused.stderr
    trained = slmforge("plan", "toy", f"base.source={{kind: folder, path: {small.path}}}", cwd=tmp_path)
    assert trained.returncode == 3, "it is no base to train"
    assert "quantization_config" in trained.stderr
