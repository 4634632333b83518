"""What each kind of reward makes of right, wrong, evasive and hostile answers, and what the card refuses."""

import time
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import amounts, chemistry, domain
from tasks.lib.config import build
from tasks.lib.errors import ConfigError
from tasks.lib.rewards import Rewards

ETHANOL = {"dataset": "facts", "prompt": "Formula of CCO?", "response": "C2H6O", "group": "CCO"}
TRIAGE = {"dataset": "notes", "prompt": "Triage?", "response": "urgent", "choices": ["emergency", "urgent", "routine", "self-care"]}
PROFIT = {"dataset": "books", "prompt": "Profit?", "response": "$1.2 million"}
GROWTH = {"dataset": "books", "prompt": "Growth?", "response": "10.0 %"}
YEAR = {"dataset": "books", "prompt": "Which year?", "response": "2017"}

SCORES: list[tuple[dict[str, Any], dict[str, Any], dict[str, float]]] = [
    ({"kind": "formula"}, ETHANOL, {"C2H6O": 1, "H6C2O": 1, "C₂H₆O.": 1, "The formula is C2H6O": 1, "C2H5OH": 1, "C2H6": 0, "": 0, "Zz9": 0}),
    ({"kind": "formula", "of": "group"}, {**ETHANOL, "response": "wrong"}, {"C2H6O": 1, "CCO": 0}),
    ({"kind": "molecular-weight", "of": "group"}, ETHANOL, {"46.07": 1, "46.07 g/mol": 1, "about 46.1": 1, "45": 0, "46.07 or 18": 0, "none": 0}),
    ({"kind": "molecular-weight"}, {**ETHANOL, "response": "46.1"}, {"46.1": 1, "47.1": 0}),
    ({"kind": "smiles-valid"}, ETHANOL, {"CCO": 1, "c1ccccc1": 1, "c1cccc": 0, "C(C)(C)(C)(C)C": 0, "": 0, "ethanol": 0}),
    ({"kind": "smiles-same", "of": "group"}, ETHANOL, {"CCO": 1, "OCC": 1, "CCC": 0, "?": 0, "": 0}),
    ({"kind": "functional-groups", "of": "group"}, {**ETHANOL, "group": "O=C(O)c1ccccc1"},
     {"a carboxylic acid and an aromatic ring": 1, "a carboxylic acid": 2 / 3, "amine": 0, "": 0, "O=C(O)c1ccccc1C": 1}),
    ({"kind": "label"}, TRIAGE, {"urgent": 1, "Urgent.": 1, "It is urgent": 1, "urgent or routine": 0, "routine": 0, "insurgent": 0, "": 0}),
    ({"kind": "label"}, {**TRIAGE, "choices": ["acid", "amino acid"], "response": "amino acid"}, {"amino acid": 1, "acid": 0, "an amino acid": 1}),
    ({"kind": "label"}, {**TRIAGE, "choices": None, "response": "500 mg"}, {"500 mg": 1, "500 mg.": 1, "500 mg or 5 mg": 0}),
    ({"kind": "number"}, PROFIT, {"$1.2 million": 1, "1,200,000 USD": 1, "$1,203,000": 1, "$1.2": 0, "1.2 million": 0, "€1.2 million": 0, "-$1.2m": 0}),
    ({"kind": "number"}, GROWTH, {"10 %": 1, "10.0 percent": 1, "0.1": 0, "10": 0, "10 % or 20 %": 0, "(10 %)": 0}),
    ({"kind": "number"}, YEAR, {"2017": 1, "In 2017.": 1, "2016": 0, "2016 2017": 0, "2017 %": 0}),
    ({"kind": "number", "tolerance": 0.5}, {**YEAR, "response": "-4.0"}, {"-3": 1, "3": 0, "−5": 1}),
    ({"kind": "format", "pattern": "yes|no"}, TRIAGE, {"yes": 1, " no ": 1, "yes, no": 0}),
    ({"kind": "length", "words": 2}, TRIAGE, {"one two": 1, "one two three": 0.5, "a b c d": 0, "": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "row", "answers"), SCORES, ids=lambda value: value.get("kind", "") if isinstance(value, dict) else "")
def test_a_reward_judges_answers(declared: dict[str, Any], row: dict[str, Any], answers: dict[str, float]) -> None:
    (reward,) = build(Rewards, {"of": [{"name": "it", **declared}]}, "rewards").of
    assert reward.applies(row)
    assert {answer: reward.score(answer, row) for answer in answers} == pytest.approx(answers)


def test_a_reward_is_for_its_rows() -> None:
    declared = [
        {"name": "elsewhere", "kind": "label", "datasets": ["other"]}, {"name": "asked", "kind": "label", "when": "^Triage"},
        {"name": "not-asked", "kind": "label", "when": "Weight"}, {"name": "no-number", "kind": "number"}, {"name": "no-molecule", "kind": "smiles-same"},
    ]  # fmt: skip
    found = build(Rewards, {"of": declared}, "rewards").of
    assert [reward.name for reward in found if reward.applies(TRIAGE)] == ["asked"]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"name": "a", "kind": "formular"}, "did you mean 'formula'"),
        ({"name": "a", "kind": "label", "tolerance": 1}, "unknown key"),
        ({"name": "a", "kind": "format", "pattern": "("}, "no regular expression"),
        ({"name": "a", "kind": "label", "datasets": ["colour"]}, "no tune dataset is called 'colour'; did you mean 'colours'"),
        ({"name": "a", "kind": "label", "datasets": ["documents"]}, "no tune dataset is called 'documents'"),
        ({"name": "A b", "kind": "label"}, "should match pattern"),
    ],
)
def test_what_the_card_cannot_mean_is_refused_when_it_is_read(declared: dict[str, Any], said: str, toy: Path) -> None:
    card = toy / "domain.yaml"
    written = ", ".join(f"{key}: {value!r}" for key, value in declared.items())
    card.write_text(card.read_text() + f"rewards: [{{{written}}}]\n")
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        domain.load("toy")


def test_two_rewards_of_one_name_are_refused(toy: Path) -> None:
    card = toy / "domain.yaml"
    card.write_text(card.read_text() + "rewards: [{name: a, kind: label}, {name: a, kind: model}]\n")
    with pytest.raises(ConfigError, match="given twice: a"):
        domain.load("toy")


def test_a_pattern_that_never_ends_is_stopped_and_named() -> None:
    (reward,) = build(Rewards, {"of": [{"name": "slow", "kind": "format", "pattern": "(a|aa)+b(?<=x)c"}]}, "rewards").of
    started = time.monotonic()
    with pytest.raises(ConfigError, match="reward slow"):
        reward.score("a" * 60 + "!", TRIAGE)
    assert time.monotonic() - started < 20


def test_hostile_answers_are_read_in_linear_time() -> None:
    for text in ("1," * 20_000, "(" * 20_000, "$ " * 20_000, "9" * 20_000, "1.1" * 10_000, "- " * 20_000):
        started = time.monotonic()
        amounts.amounts(text)
        chemistry.formula_atoms(text)
        assert time.monotonic() - started < 2, text[:6]


@pytest.mark.parametrize(("name", "edition", "trained"), [
    ("chemistry", "starter", {"right-formula", "right-weight", "right-molecule", "right-group", "right-class"}),
    ("chemistry", "full", {"right-groups", "right-measurement", "right-assay"}),
    ("finance", "starter", {"right-category", "right-tone", "right-number"}),
    ("finance", "full", {"right-category", "right-number"}),
    ("healthcare", "starter", {"right-triage", "one-label", "right-reading"}),
    ("healthcare", "full", {"right-decision", "one-decision"}),
])  # fmt: skip
def test_shipped_domains_reward_what_their_edition_has(name: str, edition: Any, trained: set[str]) -> None:
    card = domain.load(name)
    rewards = card.rewards(edition).chosen([])
    assert {reward.name for reward in rewards} == trained
    for dataset in card.of_edition(edition):
        for label in dataset.choices or [] if dataset.role == "tune" else []:
            row = {"dataset": dataset.name, "choices": dataset.choices, "prompt": "", "response": label}
            assert all(reward.score(label, row) == 1 for reward in rewards if reward.applies(row)), label


@pytest.mark.parametrize("name", ["chemistry", "finance", "healthcare"])
def test_the_answers_of_the_starter_data_have_the_full_reward(name: str) -> None:
    """Every right answer of the shipped data is right by its rewards; that of another row mostly is not."""
    import json

    card = domain.load(name)
    rewards = card.rewards("starter").chosen([])
    of_reward: dict[str, list[float]] = {reward.name: [] for reward in rewards}
    for dataset in card.of_edition("starter"):
        if dataset.role != "tune":
            continue
        lines = (card.folder / "data" / f"{dataset.name}.jsonl").read_text().splitlines()
        for line in lines[:200]:
            raw = json.loads(line)
            row = {
                "dataset": dataset.name,
                "choices": dataset.choices,
                **{key: template.format(**raw) for key, template in dataset.map.items()},
            }
            for reward in rewards:
                if row["response"] and reward.applies(row):
                    assert reward.score(row["response"], row) == 1, (reward.name, row)
                    of_reward[reward.name].append(reward.score("nonsense", row))
    assert all(values and not any(values) for values in of_reward.values()), of_reward
