"""The tests of training in several processes, on accelerators; skipped where there are not enough of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from tasks.lib import tracking, training
from tasks.lib.training_config import TrainingConfig
from tests.lib import test_launch_rewards
from tests.lib.test_launch import SETTINGS, assert_reloads, model, trained

COUNT = torch.cuda.device_count()
CLOSE = 1e-3  # nats: sums in another order, and the kernels of another batch size


def on_gpu(what: str, **given: Any) -> tuple[Any, dict[str, Any], Any]:
    network = model(lora=what == "tune-lora")
    with tracking.active(None) as current:
        learned = trained(what, network, TrainingConfig.model_validate({**SETTINGS, "device": "cuda", **given}))
    return network.cpu(), current.measured, learned


pair = pytest.mark.skipif(COUNT < 2, reason=f"needs 2 CUDA devices, found {COUNT}")  # one device shares nothing


@pytest.mark.skipif(COUNT < 1, reason=f"needs 1 CUDA device, found {COUNT}")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("what", ["pretrain", "tune", "tune-lora", "align"])
def test_one_device_learns(what: str, precision: str, workplace: Path) -> None:
    _, measured, _ = on_gpu(what, precision=precision)
    losses = [point["loss"] for point in measured["curve"]]
    assert losses[-1] < 0.99 * losses[0]
    assert "engine" not in measured


@pair
def test_one_device_is_one_however_many_there_are(workplace: Path) -> None:
    """The library would spread each batch over all that it sees, in steps that many times as large."""
    args = training.arguments(TrainingArguments, TrainingConfig.model_validate({**SETTINGS, "device": "cuda"}), 8, str(workplace))
    assert (args.n_gpu, args.train_batch_size) == (1, args.per_device_train_batch_size)


@pair
@pytest.mark.parametrize("parallel", ["ddp", "zero2", "zero3"])
@pytest.mark.parametrize("what", ["pretrain", "tune", "tune-lora", "align"])
def test_two_devices_learn_what_one_learns(what: str, parallel: str, workplace: Path) -> None:
    _, reference, expected = on_gpu(what)
    network, measured, learned = on_gpu(what, devices=2, parallel=parallel)
    assert measured["engine"] == ("DistributedDataParallel" if parallel == "ddp" else "DeepSpeedEngine")
    assert learned.facts == expected.facts
    assert [p["loss"] for p in measured["curve"]] == pytest.approx([p["loss"] for p in reference["curve"]], abs=CLOSE)
    assert_reloads((network.merge_and_unload() if hasattr(network, "merge_and_unload") else network), workplace / "saved")


@pair
def test_auto_takes_all_devices(workplace: Path) -> None:
    _, measured, _ = on_gpu("pretrain", devices="auto", batch=COUNT, parallel="zero2", precision="bf16")
    assert measured["devices"] == COUNT


@pair
@pytest.mark.parametrize("parallel", ["ddp", "zero2", "zero3"])
@pytest.mark.parametrize("what", ["kto", "reward"])
def test_two_devices_prefer_what_one_prefers(what: str, parallel: str, workplace: Path) -> None:
    made = []
    for given in ({}, {"devices": 2, "parallel": parallel}):
        network = model() if what == "kto" else test_launch_rewards.scorer(workplace / "body")
        with tracking.active(None) as current:
            cfg = TrainingConfig.model_validate({**SETTINGS, "device": "cuda", **given})
            learned = test_launch_rewards.preferring(what, network, cfg)
        made.append((learned.facts, [point["loss"] for point in current.measured["curve"]], current.measured.get("engine")))
    assert made[1][0] == made[0][0]
    assert made[1][1] == pytest.approx(made[0][1], abs=CLOSE)
    assert made[1][2] == test_launch_rewards.ENGINES[parallel]


reinforced = test_launch_rewards.reinforced


@pair
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("parallel", ["ddp", "zero2", "zero3"])
@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_two_devices_are_rewarded(kind: str, parallel: str, precision: str, workplace: Path, reinforced: Any) -> None:
    given = {"method": {"kind": kind}, "precision": precision, "device": "cuda"}
    _, expected, alone, _ = reinforced(**given)
    network, learned, change, measured = reinforced(**given, devices=2, parallel=parallel)
    assert measured["engine"] == test_launch_rewards.ENGINES[parallel]
    assert learned.facts == expected.facts
    assert change.low > 0
    assert alone.low <= change.after - change.before <= alone.high
    assert_reloads(network.cpu(), workplace / "saved")
