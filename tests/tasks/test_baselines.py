"""What a score is compared with: the most frequent answer of training, on the same rows, and random weights."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.evaluate import EvaluateConfig, Scores
from tasks.lib import baselines, domain, models, page_tasks, scoring
from tasks.lib.errors import ConfigError
from tasks.lib.paired import Paired, marks
from tasks.lib.records import RecordWriter
from tasks.lib.score import TaskScore, interval
from tasks.lib.suite import Task
from tests.conftest import TASK
from tests.tasks.test_page import rendered, scores, words

CHOSEN = {
    "task": "chosen", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "colours-heldout.jsonl"}}, "test_split": "test",
    "output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_choice": "{{choices}}", "doc_to_target": "{{label}}",
    "metric_list": [{"metric": "acc"}],
}  # fmt: skip
WRITTEN = {
    **{key: value for key, value in CHOSEN.items() if key != "doc_to_choice"}, "doc_to_target": "{{response}}",
    "output_type": "generate_until", "metric_list": [{"metric": "exact_match", "ignore_case": True}],
    "dataset_kwargs": {"data_files": {"test": "asked.jsonl"}},
}  # fmt: skip
COLOURS = ["red", "blue", "green"]


def training(folder: Path, *rows: tuple[str, str, list[str]]) -> baselines.Training:
    """Training rows as a split keeps them: dataset, answer, choices."""
    with RecordWriter(folder) as writer:
        for number, (dataset, answer, choices) in enumerate(rows):
            row: dict[str, Any] = {"id": f"{number}", "dataset": dataset, "file": "f", "row": number, "prompt": "?", "response": answer}
            writer.put({**row, **({"choices": choices} if choices else {})}, "tune-train")
    return baselines.Training(folder)


def beside(task: dict[str, Any], wanted: list[str], right: str, known: baselines.Training, tmp_path: Path) -> TaskScore:
    """A score of a task whose rows want these answers, with its baseline."""
    name = Path(task["dataset_kwargs"]["data_files"]["test"]).stem
    file = tmp_path / f"{name}.jsonl"
    choices = {"choices": COLOURS} if task["output_type"] == "multiple_choice" else {}
    file.write_text("".join(json.dumps({"prompt": "?", "response": answer, **choices}) + "\n" for answer in wanted))
    score = TaskScore(task=task["task"], metric="acc", n=len(right), value=right.count("1") / len(right), right=right)
    (found,) = baselines.beside([score], {"t": task}, known, {name: file}, None)
    return found


def test_the_constant_answer_is_that_of_training_and_not_that_of_the_rows_asked(tmp_path: Path) -> None:
    rows = [("colours", answer, COLOURS) for answer in ["blue"] * 6 + ["red"] * 4] + [("other", "red", COLOURS)] * 20
    found = beside(CHOSEN, ["red"] * 12 + ["blue"] * 3 + ["green"] * 5, "1" * 15 + "0" * 5, training(tmp_path, *rows), tmp_path)
    made = found.baseline
    assert made is not None
    assert (made.answer, made.rows, made.share, made.datasets) == ("blue", 10, 0.6, ["colours"])
    assert (made.n, made.value, made.low, made.high) == (20, 0.15, *interval([1.0] * 3 + [0.0] * 17))
    assert made.unseen == ["green"]
    assert (made.paired.first, made.paired.second, made.paired.word) == (12, 0, "better")
    assert "always the most frequent label of training 0.150 (better: right alone on 12 rows against 0, p < 0.001)" in found.sentence()
    assert "no training row is labelled green" in made.sentence()


def test_of_written_answers_those_without_choices_are_counted_or_those_that_the_task_names(tmp_path: Path) -> None:
    rows = [
        ("notes", "10 MG", []),
        ("notes", "10 MG", []),
        ("facts", "no", []),
        ("facts", "no", []),
        ("facts", "no", []),
        ("c", "x", COLOURS),
    ]
    known = training(tmp_path, *rows)
    wanted = ["10 mg"] * 4 + ["5 mg"] * 4
    every, named = (beside(task, wanted, "0" * 8, known, tmp_path).baseline for task in (WRITTEN, {**WRITTEN, "training": ["notes"]}))
    assert every is not None
    assert named is not None
    assert (every.answer, every.value, every.datasets) == ("no", 0.0, ["facts", "notes"])
    assert (named.answer, named.value) == ("10 MG", 0.5), "compared as the task's metric compares"
    assert named.paired.word == "not told apart", "four rows apart are p = 0.125"


def test_without_such_rows_in_training_it_says_so(tmp_path: Path) -> None:
    known = training(tmp_path, ("notes", "a", []), ("notes", "b", []))
    found = beside(CHOSEN, ["red"], "1", known, tmp_path)
    assert (found.baseline, found.no_baseline) == (None, "no training row answers such a question")
    assert beside(WRITTEN, ["a"], "1", known, tmp_path).no_baseline == "no two training rows have the same answer"


def test_of_the_answers_only_the_most_frequent_is_kept_as_text(tmp_path: Path) -> None:
    often = ["always " + "b" * 2_000, "always " + "a" * 2_000]
    rows = [f"{number} " + "x" * 2_000 for number in range(6_000)]
    written: list[tuple[str, str, list[str]]] = [("notes", answer, []) for answer in [*often, *rows, *often]]
    tracemalloc.start()
    known = training(tmp_path, *written)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    known = baselines.Training(tmp_path)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 10_000_000, "a batch of rows is 4 MB, all answers are 12 MB"
    made = beside(WRITTEN, [often[1], "other"], "00", known, tmp_path).baseline
    assert made is not None
    assert (made.answer, made.value, made.rows) == (often[1], 0.5, 6_004), "the first of the alphabet of two that are as frequent"


@pytest.mark.parametrize(
    ("first", "second", "p", "word"),  # 2 * sum(comb(n, k) for k up to the smaller) / 2 ** n
    [("1" * 6, "0" * 6, 0.03125, "better"), ("0" * 6, "1" * 6, 0.03125, "worse"), ("1" * 5, "0" * 5, 0.0625, "not told apart"),
     ("1111", "1111", 1.0, "not told apart"), ("1" * 9 + "0", "0" * 9 + "1", 0.021484, "better")],
)  # fmt: skip
def test_the_paired_test_is_mcnemars_exact_one(first: str, second: str, p: float, word: str) -> None:
    found = Paired.of(first, second)
    assert found.p == pytest.approx(p, abs=1e-6)
    assert found.word == word


def test_the_metric_compares_as_in_the_harness() -> None:
    metric = Task.model_validate({**WRITTEN, "metric_list": [{"metric": "exact_match", "ignore_case": True}]}).metric
    assert [scoring.equal(metric, "10 MG", one) for one in ("10 mg", "11 mg")] == [1.0, 0.0]


def test_random_weights_are_the_same_each_time_and_move_no_other_draw() -> None:
    torch.manual_seed(5)
    tokenizer = models.train_tokenizer(["alpha beta gamma"] * 20, 300)
    network = models.new_decoder(tokenizer, 32, 2, 2, 64)
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    first, second = baselines.random_weights(network), baselines.random_weights(network)
    assert torch.equal(torch.rand(1), wanted)
    pairs = [zip(first.parameters(), other.parameters(), strict=True) for other in (second, network)]
    same, trained = ([torch.equal(a, b) for a, b in pair] for pair in pairs)
    assert all(same)
    assert not all(trained)


def test_a_dataset_that_the_task_names_must_be_one_to_tune_on(toy: Path, workplace: Path) -> None:
    file = toy / "eval" / "colour.yaml"
    file.write_text(TASK + "training: [colours]\n")
    assert domain.load("toy").suite.tasks["colour"]["training"] == ["colours"]
    file.write_text(TASK + "training: [documents]\n")
    with pytest.raises(ConfigError, match="no dataset with role tune"):
        domain.load("toy")


def _with_baseline(made: list[Scores]) -> list[Scores]:
    """Scores on the page's task, each model right where the text says, beside a constant answer right on the last ten of 50."""
    right = ["0" * 50, "0" * 50, "1" * 40 + "0" * 10, "1" * 50, "0" * 40 + "1" * 10, "0" * 50]
    found = []
    for score, marked in zip(made, right, strict=True):
        always = [0.0] * 40 + [1.0] * 10
        low, high = interval(always)
        baseline = {"answer": "red", "share": 0.6, "rows": 10, "datasets": ["colours"], "unseen": [], "n": 50, "value": 0.2, "low": low,
                    "high": high, "paired": Paired.of(marked, marks(always)).model_dump()}  # fmt: skip
        tasks = [TaskScore.model_validate({**one.model_dump(), "baseline": baseline}) if one.n else one for one in score.tasks]
        untrained = [TaskScore(task="colour", metric="acc", n=32, value=0.28, low=0.1, high=0.5)] if score.subject == "base" else []
        found.append(score.model_copy(update={"tasks": tasks, "untrained": untrained}))
    return found


def test_the_report_tells_each_model_from_the_most_frequent_answer(workplace: Path) -> None:
    made = _with_baseline(scores([0.1, 0.2, 0.8, 1.0, 0.2, 0.0], [1.0] * 6))
    html = rendered(scores=made)
    text = words(html)
    assert (
        "colour, better than always giving the most frequent answer of training: "
        "tuned (right alone on 40 rows against 10, p < 0.001), aligned (right alone on 40 rows against 0, p < 0.001)" in text
    )
    assert (
        "colour, worse than always giving the most frequent answer of training: base (right alone on 0 rows against 10, p = 0.002)" in text
    )
    assert (
        "not told apart from always giving the most frequent answer of training: student (right alone on 0 rows against 0, p = 1.000)"
        in text
    )
    assert "“red”, of 60.0 % of 10 training rows baseline 0.200 0.112 – 0.330 50" in text
    assert "untrained (random weights) baseline 0.280 0.100 – 0.500 32" in text
    assert ">majority</text>" in html
    assert ">untrained</text>" in html
    assert page_tasks.sentences([]) == []


def test_an_untrained_model_that_was_not_measured_is_told(workplace: Path) -> None:
    made = scores([0.5] * 6, [1.0] * 6)
    first = made[0].model_copy(update={"no_untrained": "the base was trained elsewhere"})
    said = "The architecture with random weights was not measured: the base was trained elsewhere."
    assert said in words(rendered(scores=[first, *made[1:]]))
    assert said not in words(rendered(scores=made))
    assert EvaluateConfig().untrained == 32
