"""Training in two processes: the same result as in one, by the engine that was asked for, and nothing left when one dies."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from datasets import Dataset
from transformers import TrainingArguments

from tasks.align import Dpo
from tasks.lib import adapters, heads, launch, models, objectives, ranks, shares, tracking
from tasks.lib.collations import Collation
from tasks.lib.config import build
from tasks.lib.counting import CountingTrainer
from tasks.lib.curve import Curve
from tasks.lib.errors import ConfigError, StageError
from tasks.lib.launch import Job
from tasks.lib.packing import BlockCollator, Encoder
from tasks.lib.preferences import fit_dpo
from tasks.lib.training import Learned, Lesson, fit, learn
from tasks.lib.training_config import TrainingConfig
from tasks.tune import TuneConfig
from tests.conftest import ROOT, Run

pytestmark = pytest.mark.long

WORDS = ["alpha", "beta", "gamma", "delta", "apple", "stone", "river", "cloud", "bread", "water", "light", "night"]
PROCESSES = 2
SAME = 1e-5  # nats: what losses may differ by where sums are taken in another order
# an epoch of 21 pairs is a step of 16 and one of 5, which two processes share as 3 and 2
SETTINGS = {"length": 32, "batch": 8, "accumulation": 2, "epochs": 2, "precision": "fp32", "learning_rate": 1e-2}


def texts() -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choice(WORDS) for _ in range(draw.randint(5, 60))) for _ in range(60)]


TOKENIZER = models.train_tokenizer(texts(), 320)


def model(*, lora: bool = False) -> Any:
    torch.manual_seed(0)
    made = models.new_decoder(TOKENIZER, 32, 2, 2, 128)
    return adapters.wrap(made, 4, 8, 0.0, "all-linear") if lora else made


def blocks() -> Dataset:
    encoder = Encoder(TOKENIZER, 32)
    return encoder.pack((piece for text in texts() for piece in encoder.document(text)), 0)


def pairs() -> list[dict[str, Any]]:
    def said(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    words = [(word, i) for i in range(2) for word in WORDS][:21]
    return [
        {"prompt": said("user", f"{w} {i}"), "chosen": said("assistant", w), "rejected": said("assistant", f"no {w}")} for w, i in words
    ]


def trained(what: str, network: Any, cfg: TrainingConfig) -> Learned:
    if what == "align":
        return fit_dpo(network, TOKENIZER, pairs(), cfg, Dpo())
    return fit(network, TOKENIZER, blocks(), cfg, "tune" if what.startswith("tune") else what)


@pytest.fixture(scope="module")
def alone() -> Callable[[str], tuple[Any, Learned]]:
    """Each method in one process, once."""
    made: dict[str, tuple[Any, Learned]] = {}

    def one(what: str) -> tuple[Any, Learned]:
        if what not in made:
            network = model(lora=what == "tune-lora")
            made[what] = network, trained(what, network, TrainingConfig.model_validate(SETTINGS))
        return made[what]

    return one


@pytest.mark.parametrize(
    ("what", "parallel"),
    [
        ("pretrain", "zero3"),
        ("align", "zero2"),
        ("tune-lora", "ddp"),
        *(
            pytest.param(what, parallel, marks=pytest.mark.slow)
            for what, parallel in [
                ("pretrain", "ddp"), ("pretrain", "zero2"), ("tune", "zero2"), ("tune", "zero3"),
                ("tune-lora", "zero3"), ("align", "ddp"), ("align", "zero3"),
            ]
        ),
    ],
)  # fmt: skip
def test_two_processes_learn_what_one_learns(
    what: str, parallel: str, workplace: Path, alone: Callable[[str], tuple[Any, Learned]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")  # see `careless_lesson`
    reference, expected = alone(what)
    network = model(lora=what == "tune-lora")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    writer = tracking.RunWriter("toy", what, None, {})
    with tracking.active(writer) as current:
        learned = trained(what, network, TrainingConfig.model_validate({**SETTINGS, "devices": PROCESSES, "parallel": parallel}))
    measured = current.measured
    assert measured["engine"] == ("DistributedDataParallel" if parallel == "ddp" else "DeepSpeedEngine")
    assert measured["devices"] == PROCESSES
    assert learned.facts == expected.facts
    assert learned.times == expected.times
    mine, theirs = measured["curve"], expected.measured["curve"]
    assert [point["step"] for point in mine] == [point["step"] for point in theirs]
    assert [point["loss"] for point in mine] == pytest.approx([point["loss"] for point in theirs], abs=SAME)
    assert theirs[-1]["loss"] < 0.99 * theirs[0]["loss"], "there was something to learn"
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, atol=SAME, rtol=0)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if "lora_" in name} if what == "tune-lora" else len(changed) == len(before)
    events = [json.loads(line) for line in next(tracking.spool().glob("*.jsonl")).read_text().splitlines()]
    sent = {event["step"]: event["values"]["loss"] for event in events if "loss" in event.get("values", {})}
    assert sent == {point["step"]: point["loss"] for point in mine}, "metrics over time reach the run"
    assert not any(path.is_dir() for path in (workplace / "runs/launched").iterdir())
    assert_reloads((network.merge_and_unload() if hasattr(network, "merge_and_unload") else network), workplace / "saved")


def assert_reloads(network: Any, folder: Path) -> None:
    """Whole weights in safetensors, that give the same logits when they are loaded."""
    models.save(network, TOKENIZER, folder)
    ids = TOKENIZER("alpha beta gamma delta", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        torch.testing.assert_close(models.load(folder)(ids).logits, network.eval()(ids).logits, atol=0, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "zero2", "zero3"])
def test_bf16_rounds_alike_in_two_processes(parallel: str, workplace: Path) -> None:
    """Autocast in each of them, and weights in fp32: what differs is rounding."""
    made = []
    for devices in (1, PROCESSES):
        network = model()
        cfg = {**SETTINGS, "precision": "bf16", "devices": devices, "parallel": parallel}
        with tracking.active(None) as current:
            fit(network, TOKENIZER, blocks(), TrainingConfig.model_validate(cfg), "pretrain")
        made.append([point["loss"] for point in current.measured["curve"]])
        assert all(weight.dtype == torch.float32 for weight in network.parameters())
        assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in network.parameters())
    assert made[1] == pytest.approx(made[0], abs=1e-2)


@pytest.mark.slow
def test_a_student_has_the_same_teacher_in_two_processes(workplace: Path) -> None:
    teacher, students = model(), []
    for devices in (1, PROCESSES):
        students.append(models.fewer_layers(teacher, 1))
        cfg = TrainingConfig.model_validate({**SETTINGS, "devices": devices})
        fit(students[-1], TOKENIZER, blocks(), cfg, "distill", teacher=teacher, weight=0.5, temperature=2.0)
    for one, two in zip(students[0].parameters(), students[1].parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=SAME, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["pretrain", "distill"])
def test_an_encoder_fills_in_the_same_masks_in_two_processes(what: str, workplace: Path) -> None:
    """In both epochs, of which each has masks of its own."""
    tokenizer = models.train_encoder_tokenizer(texts(), 320)
    made = []
    for devices in (1, PROCESSES):
        torch.manual_seed(0)
        teacher = models.new_encoder(tokenizer, 32, 2, 2, 128)
        objective = objectives.choose(teacher, tokenizer, 32)
        masked = objective.blocks((piece for text in texts() for piece in objective.encoder.document(text)), 0)
        student, taught = teacher, {}
        if what == "distill":
            student, taught = models.fewer_layers(teacher, 1), {"teacher": teacher, "weight": 0.5, "temperature": 2.0, "hidden": 0.5}
        with tracking.active(None) as current:
            objective.fit(student, masked, TrainingConfig.model_validate({**SETTINGS, "devices": devices}), what, **taught)
        made.append((student, [point["loss"] for point in current.measured["curve"]]))
    assert made[1][1] == pytest.approx(made[0][1], abs=SAME)
    for one, two in zip(made[0][0].parameters(), made[1][0].parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=10 * SAME, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_blank_is_no_row_of_a_classifier(smoothing: float, workplace: Path) -> None:
    """Of 17 rows the last step has one, and the second process none."""
    models.save(model(), TOKENIZER, workplace / "body")
    rows = [{"prompt": f"{word} {i}", "response": "long" if len(word) > 4 else "short"} for i in range(2) for word in WORDS][:17]
    made = []
    for devices in (1, PROCESSES):
        torch.manual_seed(0)
        network = heads.with_head(workplace / "body", ["long", "short"], TOKENIZER)
        given = {**SETTINGS, "devices": devices, "learning_rate": 3e-3, "trainer": {"label_smoothing_factor": smoothing}}
        with tracking.active(None) as current:
            data = heads.TextEncoder(TOKENIZER, 32).labelled(rows, ["long", "short"])
            fit(network, TOKENIZER, data, TrainingConfig.model_validate(given), "classify", Collation(None))
        made.append((network, [point["loss"] for point in current.measured["curve"]]))
    assert made[1][1] == pytest.approx(made[0][1], abs=SAME)
    for one, two in zip(made[0][0].parameters(), made[1][0].parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=10 * SAME, rtol=0)


def careless_lesson(job: Job, work: str) -> Lesson:
    """With this variable, which many set to keep accelerate on the CPU, DeepSpeed is ignored without a word."""
    os.environ["ACCELERATE_USE_CPU"] = "1"
    given = {"remove_unused_columns": False, "report_to": [], "max_steps": 2}
    args = TrainingArguments(work, use_cpu=True, ddp_backend="gloo", deepspeed=ranks.mine().zero, **given)
    collate = BlockCollator(job.tokenizer.pad_token_id, 32)
    return Lesson(CountingTrainer(job.model, args, data_collator=collate, train_dataset=job.data), Curve("careless", 1, "tok"), "tokens")


def test_another_engine_than_was_asked_for_is_refused_when_it_trains(workplace: Path) -> None:
    cfg = TrainingConfig.model_validate({**SETTINGS, "devices": PROCESSES, "parallel": "zero2"})
    with pytest.raises(StageError, match="a DistributedDataParallel: the libraries have ignored"):
        learn(Job(careless_lesson, model(), TOKENIZER, blocks(), cfg))


def test_what_the_library_refuses_is_told_as_in_one_process(workplace: Path) -> None:
    cfg = TrainingConfig.model_validate({**SETTINGS, "devices": PROCESSES, "trainer": {"warmth": 1}})
    with pytest.raises(ConfigError, match="warmth"):
        fit(model(), TOKENIZER, blocks(), cfg, "pretrain")


def endless() -> TrainingConfig:
    return TrainingConfig.model_validate({**SETTINGS, "devices": PROCESSES, "trainer": {"max_steps": 1_000_000}})


def workers(of: int) -> Iterator[psutil.Process]:
    """The processes that train below one, once they are at it."""
    for process in psutil.Process(of).children(recursive=True):
        if "tasks.lib.worker" in process.cmdline():
            yield process


def at_work(runs: Path, of: int) -> list[psutil.Process]:
    """Wait until steps are taken."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if any('"advance"' in told.read_text() for told in runs.glob("launched/*/told.jsonl")):
            return list(workers(of))
        time.sleep(0.05)
    raise AssertionError("no step was taken")


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_killed_rank_ends_the_training_with_its_name(workplace: Path) -> None:
    found: list[psutil.Process] = []
    killed = []

    def kill() -> None:
        found.extend(at_work(workplace / "runs", os.getpid()))
        (second,) = (process for process in found if process.environ()["RANK"] == "1")
        killed.append((second.pid, time.monotonic()))
        second.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    network = model()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(StageError) as caught:
        fit(network, TOKENIZER, blocks(), endless(), "pretrain")
    killer.join()
    pid, at = killed[0]
    assert time.monotonic() - at < 20
    assert f"rank 1 (process {pid}) was killed by SIGKILL; the end of its log:" in str(caught.value)
    assert "memory ran out" in str(caught.value)
    assert len(found) == PROCESSES
    assert_gone(found)
    assert not any(path.is_dir() for path in (workplace / "runs/launched").iterdir())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


PROGRAM = """
from tests.lib.test_launch import TOKENIZER, blocks, endless, fit, model
fit(model(), TOKENIZER, blocks(), endless(), "pretrain")
"""


@pytest.mark.slow
def test_when_the_parent_is_killed_nothing_goes_on(workplace: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (workplace / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=log, stderr=log)
    found = at_work(workplace / "runs", process.pid)
    below = psutil.Process(process.pid).children(recursive=True)
    assert len(found) == PROCESSES
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_gone(below)
    (left,) = (path for path in (workplace / "runs/launched").iterdir() if path.is_dir())
    with launch.folder() as next_one:
        assert next_one != left
        assert not left.exists(), "the next launch takes away what the killed one left"


def test_pairs_weigh_the_same_however_a_step_is_cut(workplace: Path) -> None:
    """The last step of an epoch has 5 pairs: at once, or as 2, 2 and 1."""
    made = []
    for batch, accumulation in ((8, 2), (2, 8)):
        network = model()
        trained("align", network, TrainingConfig.model_validate({**SETTINGS, "batch": batch, "accumulation": accumulation}))
        made.append(network)
    for one, two in zip(made[0].parameters(), made[1].parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=SAME, rtol=0)


@pytest.mark.parametrize(("rows", "share", "count"), [(21, (4, 2), 2), (16, (4, 2), 2), (17, (8, 1), 2), (1, (2, 1), 3), (50, (1, 3), 4)])
def test_a_step_is_dealt_as_one_process_would_take_it(rows: int, share: tuple[int, int], count: int) -> None:
    step = share[0] * share[1] * count
    hands = [list(shares.Dealt(rows, rank, count, share, 7)) for rank in range(count)]
    order = list(shares.SeedableRandomSampler(range(rows), data_seed=7))
    assert {len(hand) for hand in hands} == {len(shares.Dealt(rows, 0, count, share, 7))}
    for start in range(0, rows, step):
        turns = slice(start // step * share[1], (start // step + 1) * share[1])
        dealt = [index for hand in hands for batch in hand[turns] for index in batch]
        assert sorted(index for index in dealt if index >= 0) == sorted(order[start : start + step])
        assert all(~index in order[start : start + step] for index in dealt if index < 0)


def test_the_share_of_a_device_keeps_the_step(workplace: Path) -> None:
    for batch, accumulation in ((8, 1), (8, 3), (6, 4), (1, 8)):
        cfg = TrainingConfig(batch=batch, accumulation=accumulation)
        for devices in range(1, 9):
            if batch * accumulation % devices == 0:
                at_once, times = cfg.shared(devices)
                assert at_once * times * devices == batch * accumulation
                assert at_once <= batch
        assert cfg.shared(1) == (batch, accumulation)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"batch": 8, "devices": 3}, "8 is no multiple of 3"),
        ({"devices": 2, "parallel": "zero4"}, "there are: ddp, zero2, zero3"),
        ({"devices": 2, "parallel": "missing.json"}, "no way of training"),
        ({"devices": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_anything_starts(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        build(TuneConfig, given, "tune")


@pytest.mark.parametrize(
    "key", ["per_device_train_batch_size", "gradient_accumulation_steps", "deepspeed", "ddp_backend", "accelerator_config"]
)
def test_settings_that_follow_from_the_devices_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}' (would contradict|cannot be set)"):
        TrainingConfig.model_validate({**SETTINGS, "devices": PROCESSES, "trainer": {key: 4}})


def test_the_plan_refuses_devices_that_cannot_share_a_step(toy: Path, cli: Run) -> None:
    done = cli("plan", "toy", "tune.devices=3")
    assert done.returncode == 2
    assert "8 is no multiple of 3" in done.stderr + done.stdout
    assert "set `devices: 2`" in done.stderr + done.stdout


def test_devices_are_no_part_of_an_identity() -> None:
    one, two = TuneConfig(), TuneConfig.model_validate({"devices": 2, "parallel": "zero3"})
    assert one.identity() == two.identity()


def test_a_configuration_of_ones_own_is_read(workplace: Path) -> None:
    own = workplace / "own.json"
    own.write_text('{"zero_optimization": {"stage": 1}}')
    assert TrainingConfig(devices=2, parallel="own.json").parallel == "own.json"
    assert ranks.configuration(own)["zero_optimization"]["stage"] == 1
    for text, found in (("{", "Expecting"), ("[]", "no `zero_optimization`")):
        own.write_text(text)
        with pytest.raises(ConfigError, match=found):
            ranks.configuration(own)
