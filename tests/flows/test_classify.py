"""A classifier of a domain from the command line: one page, its own name in the registry, a report that claims nothing else."""

import json
from pathlib import Path

import pytest

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
