"""What is measured with is not trained on: compared by molecules, and in conversations by what went before."""

from pathlib import Path
from typing import Any

import pytest

from tasks.dedup import DedupConfig, dedup
from tasks.lib.errors import DataError
from tasks.split import SplitConfig, split
from tests.datasets import ingested, reasons, resolved

ASKED = {"map": {"prompt": "Is {s} toxic?", "response": "{a}"}}
MOLECULES: dict[str, Any] = {**ASKED, "columns": {"s": "smiles"}}
TRAIN = [{"s": s, "a": "no, it is not"} for s in ("OCC", "CCCCO", "c1ccccc1C")]  # ethanol, butanol, toluene
EVAL = [{"s": s, "a": "no"} for s in ("C(C)O", "C1CCCCC1")]  # ethanol, cyclohexane


def test_two_spellings_of_one_molecule_are_one_question(workplace: Path) -> None:
    given = ingested(resolved(workplace, "train", "tune", TRAIN, **MOLECULES), resolved(workplace, "judged", "eval", EVAL, **MOLECULES))
    with pytest.raises(DataError, match="judged:1") as caught:
        split(SplitConfig(), given)
    assert (caught.value.file, caught.value.row) == ("train.jsonl", 1)
    assert reasons(split(SplitConfig(overlap="set-aside"), given)) == {"train:1": "eval-overlap"}


@pytest.mark.parametrize(("train", "judged", "spelt"), [(MOLECULES, ASKED, "CCO"), (ASKED, MOLECULES, "C(C)O"), (ASKED, ASKED, "C(C)O")])
def test_spellings_are_compared_where_a_dataset_says_what_is_a_molecule(
    train: dict[str, Any], judged: dict[str, Any], spelt: str, workplace: Path
) -> None:
    """Where one side does not say so, only its canonical spelling is known to be the other's molecule."""
    rows = [{"s": s, "a": "a b"} for s in ("CCCCO", "OCC" if train is MOLECULES else "CCO")]
    given = ingested(
        resolved(workplace, "train", "tune", rows, **train), resolved(workplace, "judged", "eval", [{"s": spelt, "a": "no"}], **judged)
    )
    found = set(reasons(split(SplitConfig(overlap="set-aside"), given)))
    assert found == (set() if train is judged else {"train:2"})


def test_what_is_written_alike_is_one_question_whatever_the_datasets_say(workplace: Path) -> None:
    for number, (train, judged) in enumerate([(MOLECULES, ASKED), (ASKED, MOLECULES)]):
        rows = [{"s": s, "a": "a b"} for s in ("CCCCO", "OCC")]
        given = ingested(
            resolved(workplace, f"train-{number}", "tune", rows, **train),
            resolved(workplace, f"judged-{number}", "eval", rows[1:], **judged),
        )
        assert set(reasons(split(SplitConfig(overlap="set-aside"), given))) == {f"train-{number}:2"}


def test_a_molecule_that_is_held_out_is_not_trained_on_in_another_spelling(workplace: Path) -> None:
    held = [{"s": "C" * i + "O", "a": "no"} for i in range(2, 12)]
    other = [{"s": "O" + "C" * i, "a": "a b"} for i in range(2, 12)]
    made = split(
        SplitConfig(),
        dedup(
            DedupConfig(),
            ingested(
                resolved(workplace, "held", "tune", held, **MOLECULES, holdout=3), resolved(workplace, "other", "tune", other, **MOLECULES)
            ),
        ),
    )
    assert len(reasons(made)) == made.eval_sets["held-heldout"] == 3
    assert {name.split(":")[0] for name in reasons(made)} == {"other"}
