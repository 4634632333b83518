"""What cannot run is told by `plan` and refused by `adapt` before any stage."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.align import AlignConfig
from tasks.lib import examine, preflight
from tasks.lib.training_config import FIXED, OWN_FIELDS, TrainingConfig
from tasks.reinforce import ReinforceConfig
from tasks.reward import RewardConfig
from tasks.tune import TuneConfig
from tests.conftest import Run

BLOCKED, CONFIG, DATA = 5, 2, 3


def blockers(cli: Run, *words: str, code: int = BLOCKED) -> str:
    """What a plan says blocks it."""
    done = cli("plan", "toy", "--json", *words)
    assert done.returncode == code, done.stderr + done.stdout
    return "\n".join(json.loads(done.stdout)["blockers"])


def faults(**trainers: dict[str, Any]) -> dict[str, str]:
    """What the library says of `trainer:` of each stage."""
    question = {
        stage: ("dpo" if stage == "align" else None, TrainingConfig(trainer=given, device="cpu").model_dump(mode="json"))
        for stage, given in trainers.items()
    }
    return {stage: found for stage, found, _ in examine.answer("trainer", question)}


@pytest.fixture
def examined(workplace: Path) -> Path:
    """A memory of its own for what libraries have answered."""
    folder = workplace / "runs" / "examined"
    folder.mkdir(parents=True)
    return folder


def test_a_key_that_no_trainer_knows_blocks_a_plan_and_is_refused_before_any_stage(
    toy: Path, cli: Run, workplace: Path, examined: Path
) -> None:
    word = "align.trainer={learnign_rate: 0.1, optin: sgd}"
    said = blockers(cli, word)
    assert "align: trainer.learnign_rate: DPOConfig has no such argument" in said
    assert "`align.learning_rate:`" in said
    assert "'optim'" in said
    done = cli("adapt", "toy", word)
    assert done.returncode == CONFIG, done.stderr
    assert "align.trainer.learnign_rate: write `align.learning_rate:`" in done.stderr
    assert not (workplace / "runs" / "artifacts").exists(), "no stage has run"
    assert len(list(examined.glob("trainer-*"))) == 1, "the second question was answered from memory"


FAULTY = {
    "documents": ("{path: data/documents.jsonl}", "{path: data/away.jsonl}", "no such file", "correct its path"),
    "colours": ("{path: data/colours.csv}", f"{{path: data/colours.csv, sha256: {'a' * 64}}}", "a" * 64, "pin the new digest"),
    "ratings": ("{path: data/ratings.jsonl}, licence: CC0-1.0", "{path: data/ratings.jsonl}, licence: MIT", "'MIT'", "add the licence"),
    "general": ("{builtin: pydoc-topics}", f"{{sha256: {'b' * 64}, file: g.txt, from: here, subset: all}}", "b" * 64, "--mirror DIR"),
}


def test_every_dataset_that_cannot_be_read_is_a_blocker_and_is_named_in_one_refusal(toy: Path, cli: Run, workplace: Path) -> None:
    card = toy / "domain.yaml"
    (toy / "expectations.yaml").unlink()
    for old, new, *_ in FAULTY.values():
        assert old in card.read_text()
        card.write_text(card.read_text().replace(old, new))
    done = cli("plan", "toy", "--json", "--batches=2", "distill.layers=9", PREFECT_API_URL="")
    assert done.returncode == BLOCKED, done.stderr
    told = json.loads(done.stdout)
    for name, (_, _, found, remedy) in FAULTY.items():
        (said,) = [blocker for blocker in told["blockers"] if f"dataset '{name}'" in blocker]
        assert all(part in said for part in ("; found: ", found, "; to do: ", remedy)), said
    assert len(told["blockers"]) == len(FAULTY) + 1, "and what is wrong besides"
    states = {row["stage"]: (row["state"], row["reason"]) for row in told["stages"]}
    assert states["ingest"] == ("blocked", f"cannot be read: {', '.join(FAULTY)}")
    assert states["check"][0] == "run"
    assert {"base", "tune", "register"} <= set(states)
    for command in ("adapt", "check"):
        done = cli(command, "toy", PREFECT_API_URL="")
        assert done.returncode == DATA, done.stderr
        for name, (_, _, found, remedy) in FAULTY.items():
            assert all(part in done.stderr for part in (f"dataset '{name}'", found, remedy))
        assert not (workplace / "runs" / "artifacts").exists(), "no stage has run"


def test_a_trainer_that_says_nothing_asks_no_library(toy: Path, cli: Run, examined: Path) -> None:
    assert blockers(cli, code=0) == ""
    assert not list(examined.glob("trainer-*"))


@pytest.mark.parametrize("key", [*OWN_FIELDS, *FIXED])
def test_a_key_that_has_a_field_here_or_cannot_be_set_is_refused_when_it_is_read(key: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}' (would contradict `{OWN_FIELDS.get(key)}:`|cannot be set)"):
        TrainingConfig(trainer={key: 1})


@pytest.mark.parametrize(
    ("kind", "key"), [(AlignConfig, "beta"), (AlignConfig, "loss_type"), (TuneConfig, "loss_type"), (AlignConfig, "seed")]
)
def test_a_stage_refuses_its_own_beside_those_of_all(kind: type[TrainingConfig], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        kind(trainer={key: 1})


@pytest.mark.parametrize("kind", [AlignConfig, RewardConfig, ReinforceConfig])
def test_smoothing_of_labels_is_refused_where_a_loss_has_none(kind: type[TrainingConfig]) -> None:
    with pytest.raises(ValueError, match="no labels to smooth"):
        kind(trainer={"label_smoothing_factor": 0.1})


@pytest.mark.parametrize(
    ("given", "said"),
    [({"dataloader_drop_last": True}, "no row is left out"), ({"train_sampling_strategy": "group_by_length"}, "another order")],
)
def test_what_would_differ_between_one_device_and_several_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrainingConfig(trainer=given)
    assert TrainingConfig(trainer={"train_sampling_strategy": "sequential"}).trainer


def test_a_device_with_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"write 'cuda'.*CUDA_VISIBLE_DEVICES"):
        TrainingConfig(device="cuda:1")


@pytest.mark.parametrize("steps", [0, -1, "many", 2.5, True])
def test_steps_that_are_none_are_refused(steps: Any) -> None:
    with pytest.raises(ValueError, match="max_steps"):
        TrainingConfig(trainer={"max_steps": steps})


def test_each_trainer_takes_what_it_knows_and_says_what_it_does_not(workplace: Path, asked_here: None) -> None:
    taken = {"max_steps": 3, "optim": "sgd", "max_grad_norm": 1, "gradient_checkpointing": True}
    known: dict[str, Any] = {stage: {**taken, "adam_beta2": 0.95} for stage in preflight.TRAININGS}
    assert faults(**{**known, "align": {"label_smoothing": 0.1}}) == {}
    found = faults(
        base={"max_steps": 2, "logging_strategy": "round"}, pretrain={"max_grad_norm": "steep"}, tune={"gradient_checkpointing": "yes please"},
        distill={"optim": "sgdd"}, align={"label_smooth": 0.1},
    )  # fmt: skip
    assert "round is not a valid IntervalStrategy" in found["base"]
    assert "'steep' should be a valid number" in found["pretrain"]
    assert "valid boolean" in found["tune"]
    assert "sgdd is not a valid OptimizerNames" in found["distill"]
    assert "trainer.label_smooth: DPOConfig has no such argument" in found["align"]


WRONG = {
    "a name": ("expect_column_values_to_be_fine: {column: prompt}", "check: expectation expect_column_values_to_be_fine for role tune"),
    "an argument": ("expect_column_values_to_not_be_null: {colum: prompt}", "its arguments are severity, column"),
    "a column": ("expect_column_values_to_not_be_null: {column: promt_chars}", "'prompt_chars'"),
    "a column of another role": ("expect_column_values_to_not_be_null: {column: text}", "columns of role tune are"),
    "a pattern": ("expect_column_values_to_hold_readable_smiles: {column: prompt, pattern: '('}", "is no regular expression"),
}


def test_expectations_that_cannot_be_judged_block_a_plan_before_data_are_read(toy: Path, cli: Run, workplace: Path) -> None:
    file = toy / "expectations.yaml"
    file.write_text("packs: [finance]\ntune:\n" + "".join(f"  - {entry}\n" for entry, _ in WRONG.values()))
    said = blockers(cli)
    assert said.count("check: ") == len(WRONG), "the pack's own hold"
    for entry, wanted in WRONG.values():
        assert wanted in said, entry
    done = cli("adapt", "toy")
    assert done.returncode == CONFIG
    assert "expect_column_values_to_be_fine" in done.stderr
    assert not (workplace / "runs" / "artifacts").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tune:\n  - expect_column_values_to_not_be_null: {column: prompt, severity: warnin}\n", "'warnin'; write warning"),
        ("packs: [fiance]\n", "'finance'"),
        ("tune:\n  - expect_column_values_to_not_be_null: {column: prompt, severity: [1]}\n", "write critical, warning or info"),
    ],
)
def test_a_severity_or_a_pack_that_there_is_not_is_refused_with_the_file(text: str, said: str, toy: Path, cli: Run) -> None:
    (toy / "expectations.yaml").write_text(text)
    done = cli("plan", "toy")
    assert done.returncode == CONFIG
    assert said in done.stderr
    assert "expectations.yaml" in done.stderr
