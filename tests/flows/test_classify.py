"""A classifier of a domain from the command line: one page, its own name in the registry, a report that claims nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows import machines
from tasks.lib import models
from tests.conftest import Run, write_toy
from tests.tiny import model_of, tokenizer_of

QUICK = (
    "base.source={kind: folder, path: encoder}",
    "pretrain={length: 64, tokens: 15000, learning_rate: 3e-3}",
    "classify={length: 64, epochs: 8, learning_rate: 3e-3}",
    "distill={before_head: true, layers: 1, length: 64, tokens: 6000}",
    "evaluate={length: 64, texts: 8}",
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "classify.dataset=NAME has to name one: colours (red, blue); moods (glad, sad)"),
        (("classify.dataset=colors",), "classify.dataset=colors is none of the datasets with role tune and `choices`: colours (red"),
        (("classify.dataset=moods",), ""),
    ],
)
def test_labels_that_are_not_clear_block_before_anything_runs(words: tuple[str, ...], said: str, workplace: Path, cli: Run) -> None:
    write_toy(workplace)
    card = workplace / "domains/toy/domain.yaml"
    more = "  - {name: moods, role: tune, source: {path: data/colours.csv}, licence: CC0-1.0, kind: public, choices: [glad, sad], "
    more += 'map: {prompt: "{q}", response: "{a}"}}\n'
    card.write_text(card.read_text().replace("  - {name: general", f"{more}  - {{name: general"))
    planned = cli("plan", "toy", "--flow", "classify", "--json", "base.source={kind: scratch, architecture: encoder}", *words)
    found = "\n".join(json.loads(planned.stdout)["blockers"])
    assert said in found
    assert (planned.returncode == 5) is bool(said), found


def test_what_is_measured_of_an_encoder_is_among_the_scores() -> None:
    facts: dict[str, Any] = {
        "subject": "pretrain",
        "tasks": [],
        "general": [],
        "masked_loss": {"domain": 1.5},
        "not_measured": {"speed": "no text"},
    }
    assert machines.scores(dict.fromkeys(machines.BITS) | facts)["masked_loss"] == {"domain": 1.5}


@pytest.mark.long
def test_a_domain_gets_its_classifier_and_a_report_that_says_what_is_not_measured(workplace: Path, cli: Run) -> None:
    write_toy(workplace)
    tokenizer = tokenizer_of("distilbert")
    tokenizer.eos_token = tokenizer.bos_token = None  # as those of BERT and its kin have none
    models.save(model_of("distilbert", tokenizer), tokenizer, workplace / "encoder")
    refused = cli("adapt", "toy", QUICK[0])
    assert refused.returncode == 2
    assert "an encoder, which fills in masked tokens" in refused.stderr
    assert not list(workplace.glob("runs/artifacts/base/*"))
    made = cli("classify", "toy", *QUICK)
    assert made.returncode == 0, made.stderr + made.stdout
    assert "toy-classifier version 1" in made.stdout
    assert [file.name for file in (workplace / "runs/reports").glob("*.html")] == ["toy-classifier.html"], "a decoder's report is another"
    page = (workplace / "runs" / "reports" / "toy-classifier.html").read_text()
    assert "naming the most frequent label of training alone scores" in page
    assert "bits per byte of the classifier model: a model that names one of its labels" in page
    assert "masked loss on held-out toy text fell" in page
    assert "red</td>" in page
    record = json.loads(next(iter(workplace.glob("runs/artifacts/classify/*/artifact.json"))).read_text())
    assert record["facts"]["architecture"] == "classifier"
    student = json.loads(next(iter(workplace.glob("runs/artifacts/distill/*/artifact.json"))).read_text())
    assert (student["facts"]["layers"], student["facts"]["teacher_layers"]) == (1, 2)
    assert record["facts"]["parameters"] < student["facts"]["parameters"], "the head stands on the student"
    identifier = record["id"]
    again = cli("classify", "toy", *QUICK)
    assert "nothing to do" in again.stdout
    scored = cli("evaluate", "toy", QUICK[-1], "--model", identifier)
    assert "acc" in scored.stdout, scored.stderr
    assert "always the most frequent label" in scored.stdout
