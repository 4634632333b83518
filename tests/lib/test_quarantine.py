"""A base model from outside is admitted only without anything that could run."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import store
from tasks.lib.errors import DataError
from tasks.lib.quarantine import admit


class Payload:
    """What a hostile pickle does when it is read."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that is admitted as it is."""
    folder = tmp_path / "model"
    folder.mkdir()
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def refused(folder: Path, *, quantised: bool = False) -> DataError:
    with pytest.raises(DataError) as caught:
        admit(folder, quantised=quantised)
    assert caught.value.remedy
    return caught.value


def test_only_files_that_belong_to_a_model_are_admitted(model: Path, tmp_path: Path) -> None:
    plain = [path.name for path in admit(model)]
    assert plain == ["model.safetensors", "config.json", "tokenizer.json"]
    (model / "training_args.bin").write_bytes(pickle.dumps(Payload(tmp_path / "canary")))
    (model / "README.md").write_text("hello")
    assert [path.name for path in admit(model)] == plain
    assert not (tmp_path / "canary").exists()


def test_python_code_is_refused(model: Path) -> None:
    (model / "modeling_x.py").write_text("")
    assert "modeling_x.py" in str(refused(model))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "model.pkl"])
def test_pickled_weights_are_refused(name: str, model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(pickle.dumps(Payload(tmp_path / "canary")))
    found = refused(model)
    assert name in str(found)
    assert "pickled" in found.found
    assert not (tmp_path / "canary").exists()


def test_a_folder_without_weights_is_refused(model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert "no weights" in refused(model).found


def test_a_pickle_under_the_name_of_safetensors_is_refused(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").write_bytes(pickle.dumps(Payload(tmp_path / "canary")))
    assert "safetensors" in refused(model).asked
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("content", [b"", b"\x05", (2**40).to_bytes(8, "little") + b"{}", (50).to_bytes(8, "little") + b"{}", bytes(16)])
def test_a_header_that_does_not_fit_is_refused(content: bytes, model: Path) -> None:
    (model / "model.safetensors").write_bytes(content)
    refused(model)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("key", ["auto_map", "trust_remote_code", "_attn_implementation_internal", "quantization_config"])
def test_a_configuration_that_names_code_is_refused(file: str, key: str, model: Path) -> None:
    (model / file).write_text(json.dumps({key: {"AutoModel": "modeling_x.X"}}))
    found = refused(model)
    assert key in found.found
    assert file in found.found


@pytest.mark.parametrize("content", ["", "[]", "3", "{", "\udcff"])
def test_a_configuration_that_is_no_json_object_is_refused(content: str, model: Path) -> None:
    (model / "config.json").write_bytes(content.encode(errors="surrogateescape"))
    refused(model)
    (model / "config.json").unlink()
    assert "no such file" in refused(model).found


@pytest.mark.parametrize("index", ['{"weight_map": {"w": "../../away.safetensors"}}', '{"weight_map": {"w": 3}}', "{}", "[", "[]"])
def test_an_index_that_names_other_files_is_refused(index: str, model: Path) -> None:
    (model / "model.safetensors.index.json").write_text(index)
    refused(model)
    (model / "model.safetensors.index.json").write_text('{"weight_map": {"w": "model.safetensors"}}')
    assert len(admit(model)) == 4


TORCHAO = {"model_type": "llama", "quantization_config": {"quant_method": "torchao", "quant_type": {}}}


def quantised_artifact(model: Path, config: object = TORCHAO) -> Path:
    """The model as a committed artifact of our own store, with this config.json."""
    (model / "config.json").write_text(json.dumps(config))
    with store.lock("quantize/0123"):
        work = store.workspace("quantize/0123")
        shutil.copytree(model, work, dirs_exist_ok=True)
        empty: dict[str, Any] = {key: {} for key in ("identity", "config", "inputs", "facts", "measured", "libraries", "made")}
        named = {"stage": "quantize", "version": "1", "id": "quantize/0123", "digest": "0" * 64}
        store.commit(work, store.Record.model_validate({**named, **empty, "files": store.list_files(work)}))
    return store.root() / "quantize/0123"


def test_a_quantised_model_of_our_own_store_is_admitted_where_it_is_asked_for(model: Path, workplace: Path) -> None:
    folder = quantised_artifact(model)
    assert [path.name for path in admit(folder, quantised=True)] == ["model.safetensors", "config.json", "tokenizer.json"]
    (workplace / "link").symlink_to(folder)
    assert admit(workplace / "link", quantised=True)
    assert "quantization_config" in refused(folder).found, "it can be scored, not trained"


def test_a_quantised_model_from_elsewhere_is_refused_even_with_a_record(model: Path, workplace: Path) -> None:
    folder = quantised_artifact(model)
    assert "quantization_config" in refused(model, quantised=True).found
    for place in (
        workplace / "copy",
        workplace / "artifacts/quantize/0123",
        store.root() / "quantize/4567",
        store.root() / "other/quantize/0123",
    ):
        shutil.copytree(folder, place)
        found = refused(place, quantised=True)
        assert "quantization_config" in found.found
        assert "slmforge evaluate" in found.remedy
    (folder / store.RECORD).unlink()
    assert "quantization_config" in refused(folder, quantised=True).found


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_artifact_that_is_not_as_it_was_committed_is_refused(file: str, model: Path, workplace: Path) -> None:
    folder = quantised_artifact(model)
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content + b" ")
    assert file in refused(folder, quantised=True).found


def test_weights_that_are_not_in_the_record_are_refused(model: Path, workplace: Path) -> None:
    folder = quantised_artifact(model)
    shutil.copyfile(folder / "model.safetensors", folder / "more.safetensors")
    assert "quantization_config" in refused(folder, quantised=True).found


@pytest.mark.parametrize("settings", [{"quant_method": "bitsandbytes"}, {}, None, "torchao"])
def test_quantisation_that_is_not_ours_is_refused_in_our_store_too(settings: object, model: Path, workplace: Path) -> None:
    folder = quantised_artifact(model, {"model_type": "llama", "quantization_config": settings})
    assert "quantization_config" in refused(folder, quantised=True).found


def test_code_in_our_own_store_is_refused(model: Path, workplace: Path) -> None:
    folder = quantised_artifact(model, {**TORCHAO, "auto_map": {"AutoModel": "x.X"}})
    assert "auto_map" in refused(folder, quantised=True).found
