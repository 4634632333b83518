"""`slmforge add` on every published file beside the checkout: a proposal that fits, or an error that says what to give."""

from pathlib import Path
from typing import Any

import pytest

from flows import template
from tests.flows.test_add import SAID, add, entry
from tests.published import MIRROR, beside

BETTER = {
    "prompt": "Which is better, {smiles_i} or {smiles_j}?",
    "a": "{smiles_i}",
    "b": "{smiles_j}",
}
# by file: the role, the map without its group, and what else the entry has to say
PROPOSED: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "chemistry/corpus/openstax_chemistry_modules.jsonl": ("corpus", {"text": "{text}"}, {}),
    "chemistry/preference/molskill_pre_r1.csv": ("preference", {**BETTER, "winner": "{vote}"}, {"values": {"vote": {"0": "a", "1": "b"}}}),
    "chemistry/preference/molskill_pre_r2.csv": ("preference", {**BETTER, "winner": "{vote}"}, {"values": {"vote": {"0": "a", "1": "b"}}}),
    "chemistry/preference/molskill_production_public.csv": (
        "preference",
        {**BETTER, "winner": "{label}"},
        {"values": {"label": {"0": "a", "1": "b"}}, "columns": {"smiles_i": "smiles", "smiles_j": "smiles"}},
    ),
    "chemistry/sft/bbbp.csv": ("tune", {"prompt": "What is the p_np of {smiles}?", "response": "{p_np}"}, {"choices": ["1", "0"]}),
    "chemistry/sft/chebi20_validation.txt": (
        "tune",
        {"prompt": "What is the description of {SMILES}?", "response": "{description}"},
        {"format": "tsv", "columns": {"SMILES": "smiles", "description": "text"}},
    ),
    "chemistry/sft/esol_delaney-processed.csv": (
        "tune",
        {
            "prompt": "What is the measured log solubility in mols per litre of {smiles}?",
            "response": "{measured log solubility in mols per litre}",
        },
        {},
    ),
    "chemistry/sft/freesolv_sampl.csv": ("tune", {"prompt": "What is the expt of {smiles}?", "response": "{expt}"}, {}),
    "finance/corpus/fomc_minutes_2001_2014.jsonl": ("corpus", {"text": "{text}"}, {}),
    "finance/sft/banking77_train.csv": ("tune", {"prompt": "{text}", "response": "{category}"}, {}),
    "finance/sft/convfinqa_dev.json": ("tune", {"prompt": "{text}\n\n{table}\n\n{questions}", "response": "{answer}"}, {}),
    "finance/sft/tatqa_dataset_dev.json": (
        "tune",
        {"prompt": "{table.table}\n\n{paragraphs}\n\n{question}", "response": "{answer}"},
        {},
    ),
    "general/gutenberg_1342_pride_and_prejudice.txt": ("corpus", {"text": "{text}"}, {}),
    "general/wikitext2_test.txt": ("corpus", {"text": "{text}"}, {}),
    "general/wikitext2_valid.txt": ("corpus", {"text": "{text}"}, {}),
    "healthcare/corpus/medquad_ghr_answers.jsonl": ("corpus", {"text": "{text}"}, {}),
    "healthcare/preference/liveqa_medquad_judged_answers.jsonl": (
        "preference",
        {"prompt": "{question_summary}", "answer": "{answer}", "rating": "{judgment}"},
        {"values": {"judgment": {"1-Incorrect": "1", "2-Related": "2", "3-Incomplete": "3", "4-Excellent": "4"}}},
    ),
    "healthcare/sft/medquad_qa.jsonl": ("tune", {"prompt": "{question}", "response": "{answer}"}, {}),
    "healthcare/sft/mts_dialog_train.csv": ("tune", {"prompt": "{dialogue}", "response": "{section_text}"}, {}),
    "healthcare/sft/mts_dialog_valid.csv": ("tune", {"prompt": "{dialogue}", "response": "{section_text}"}, {}),
    "healthcare/sft/pubmedqa_pqal_train_dev.json": ("tune", {"prompt": "{CONTEXTS}\n\n{QUESTION}", "response": "{LONG_ANSWER}"}, {}),
}
REFUSED = {
    # twelve assays: which one is asked for, only a person can say; the command that is told does it
    "chemistry/sft/tox21.csv": '--role tune --map prompt="What is the NR-AR of {smiles}?" --map response="{NR-AR}"',
    "finance/sft/banking77_categories.json": "write them as `choices:` of the dataset whose answers they are",
}

pytestmark = beside


@pytest.fixture
def legal(workplace: Path) -> Path:
    return template.write("legal")


def test_every_published_file_is_here() -> None:
    files = {file.relative_to(MIRROR).as_posix() for file in MIRROR.rglob("*") if file.is_file() and file.parent != MIRROR}
    assert files == {*PROPOSED, *REFUSED}


@pytest.mark.parametrize("path", PROPOSED)
def test_a_published_file_is_understood(path: str, legal: Path) -> None:
    role, fields, further = PROPOSED[path]
    done = add(str(MIRROR / path), "--name", "real", *SAID)
    assert done.exit_code == 0, done.output
    made = entry(legal, "real")
    assert made["role"] == role
    assert {key: value for key, value in made["map"].items() if key != "group"} == fields
    assert {key: made[key] for key in further} == further
    if "winner" in fields:
        assert "'0' means {smiles_i} and '1' means {smiles_j} is a guess" in done.output
    if "banking77" in path:
        assert len(made["choices"]) == 77
    if "tatqa" in path:
        assert "'derivation'" in done.output, "what is not used is told"


@pytest.mark.parametrize("path", REFUSED)
def test_a_published_file_that_is_not_understood_says_what_to_give(path: str, legal: Path) -> None:
    before = (legal / "domain.yaml").read_bytes()
    done = add(str(MIRROR / path), "--name", "real", *SAID)
    assert done.exit_code == 2, done.output
    assert REFUSED[path] in done.output
    assert (legal / "domain.yaml").read_bytes() == before
    if "banking77" in path:
        assert add(str(MIRROR / path), "--name", "real", "--role", "corpus", *SAID).exit_code == 0
    if "tox21" in path:
        told = ("--map", "prompt=What is the NR-AR of {smiles}?", "--map", "response={NR-AR}", "--role", "tune")
        assert add(str(MIRROR / path), "--name", "real", *told, *SAID).exit_code == 0
        assert entry(legal, "real")["columns"] == {"smiles": "smiles"}
