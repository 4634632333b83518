"""General tasks: made of what nothing is trained on, the same every time, asked before and after each stage."""

import json
import tracemalloc
from pathlib import Path
from pydoc_data.topics import topics
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import GenerationMixin

from flows.prepare import prepare
from tasks.base import BaseConfig, Scratch, base
from tasks.evaluate import EvaluateConfig, Scores, _trained, evaluate
from tasks.lib import domain, general_tasks, page_general, store
from tasks.lib.base_source import documents, resolve
from tasks.lib.errors import ConfigError
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tasks.lib.model import Model
from tasks.lib.records import iterate
from tasks.lib.score import TaskScore
from tasks.lib.training_config import TrainingConfig
from tasks.split import Split, SplitConfig, split
from tests.conftest import CARD, TASK, settled, write_toy
from tests.datasets import ingested, resolved
from tests.tasks.test_page import rendered, scores, words

NAMES = ("general_word", "general_next")
TINY = Scratch(vocabulary=512, hidden=32, layers=1, heads=2, training=TrainingConfig(tokens=2000, length=64))
QUICK = EvaluateConfig(texts=2, length=64, answers=0, limit=6, speed_tokens=4, untrained=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One runs folder for the module; the toy domain has a second task, which is marked as general."""
    place = tmp_path_factory.mktemp("general")
    with settled(place):
        toy = write_toy(place)
        (toy / "eval" / "hue.yaml").write_text(TASK.replace("task: colour", "task: hue") + "general: true\n")
        yield place


@pytest.fixture(scope="module")
def model(place: Path) -> Model:
    """A base of a few thousand weights."""
    return base(BaseConfig(source=TINY), resolve(TINY))


def scored(data: Split, model: Model, **settings: Any) -> Scores:
    cfg = QUICK.model_copy(update=settings)
    return evaluate(cfg, prepare.job(Order("toy")).domain.suite, data, model)


@pytest.mark.parametrize("name", NAMES)
def test_no_sentence_that_is_asked_about_stands_in_what_is_trained_on(name: str, data: Split) -> None:
    made = general_tasks.rows(name, 1000)
    assert len(made) > 60
    assert made == general_tasks.rows(name, 1000), "the same every time"
    assert made[:7] == general_tasks.rows(name, 7)
    trained = [*documents(), *(row["text"] for row in iterate(data.path, "general-train"))]
    seen = general_tasks._plain("\n".join(trained))
    for row in made:
        assert row["choices"][row["label"]] == row["response"]
        assert len(set(row["choices"])) == 4
        assert row["prompt"] not in seen, "the sentence before is new as well"
        assert name == "general_word" or not any(choice in seen for choice in row["choices"]), "wrong ones are as new as right ones"
    labels = [row["label"] for row in made]
    assert max(map(labels.count, range(4))) / len(labels) < 0.4, "always the same place is no answer"


def test_rows_that_a_domain_trains_on_are_left_out() -> None:
    row = general_tasks.rows("general_next", 1)[0]
    others = general_tasks.rows("general_next", 1000, [f"So: {row['prompt']}\n  {row['response']}"])
    assert others
    assert not any(row["prompt"] in (one["prompt"], *one["choices"]) for one in others)
    assert general_tasks.rows("general_next", 5, topics.values()) == []


def test_what_any_dataset_trains_on_is_not_asked_about(workplace: Path) -> None:
    """A file that holds the same sentences, whatever its role."""
    copied = [passage.first for passage in general_tasks._passages()][:60]
    kinds = {"corpus": {"text": "{t}"}, "general": {"text": "{t}"}, "tune": {"prompt": "{t}", "response": "a {t}"}}
    kinds["preference"] = {"prompt": "{t}", "chosen": "yes {t}", "rejected": "no"}
    given = [
        resolved(workplace, role, role, [{"t": f"see* **{text}**\nand so on"} for text in copied[place::4]], map=card)
        for place, (role, card) in enumerate(kinds.items())
    ]
    made = split(SplitConfig(), ingested(*given))
    kept = {row["id"] for part in ("corpus-train", "general-train", "tune-train", "preference-train") for row in iterate(made.path, part)}
    asked = [row for name in NAMES for row in general_tasks.rows(name, 1000, _trained(made))]
    assert asked
    for place, role in enumerate(kinds):
        gone = [text for number, text in enumerate(copied[place::4], start=1) if f"{role}:{number}" in kept]
        assert len(gone) > 10
        assert not any(text in one for text in gone for row in asked for one in (row["prompt"], *row["choices"]))


def test_texts_are_read_one_after_the_other(tmp_path: Path) -> None:
    made = general_tasks.write(tmp_path, NAMES, 5, (f"{number} " + "x" * 1_000 for number in range(3)))
    assert set(made) == {"general-word", "general-next"}
    text = ("word " * 200).strip()
    tracemalloc.start()
    general_tasks.write(tmp_path, NAMES, 5, (f"{number} {text}" for number in range(3_000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_500_000, "all of them are 3 MB"


def test_they_are_scored_beside_the_domains_and_their_rows_are_kept(data: Split, model: Model) -> None:
    made = scored(data, model)
    assert [score.task for score in made.tasks] == ["colour"]
    assert sorted(score.task for score in made.general) == ["general_next", "general_word", "hue"]
    assert all(score.value is not None and score.n == len(score.right) == 6 for score in made.general)
    rows = [json.loads(line) for line in (store.root() / made.id / "general" / "general-word.jsonl").read_text().splitlines()]
    assert rows == general_tasks.rows("general_word", 6)
    record = store.find(made.id)
    assert record is not None
    assert {"general_word", "general_next", "general_hue", "task_colour"} <= set(record.measured)
    assert record.facts["general"] == [score.model_dump(mode="json") for score in made.general]
    assert [(score.task, score.n) for score in made.untrained] == [("colour", 3)]
    assert "task_colour_untrained" in record.measured
    assert {"task_colour_majority", "task_colour_majority_p", "task_colour_majority_gain"} <= set(record.measured)
    baseline = made.tasks[0].baseline
    assert baseline is not None
    answers = [row["response"] for row in iterate(data.path, "tune-train")]
    assert baseline.answer == max(("blue", "red"), key=answers.count)
    assert baseline.rows == len(answers)


def test_each_setting_does_what_it_says(data: Split, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    honest = GenerationMixin.generate

    def spied(self: Any, **given: Any) -> Any:
        made = honest(self, **given)
        decoded.append(made.shape[1] - given["input_ids"].shape[1])
        return made

    monkeypatch.setattr(GenerationMixin, "generate", spied)
    few = scored(data, model, general_tasks=["general_word"], general_limit=2, untrained=0, speed_tokens=7)
    assert decoded == [2, *[1, 7] * 3], "of the speed: to warm up; then three times one token, and as many as asked"
    assert {score.task: score.n for score in few.general} == {"general_word": 2, "hue": 2}
    assert (few.untrained, few.no_untrained) == ([], "evaluate.untrained is 0")


def test_general_tasks_are_asked_without_the_chat_template(data: Split, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.models.huggingface import HFLM

    asked: list[str] = []
    whole = HFLM.loglikelihood

    def spy(self: HFLM, requests: list[Any], **settings: Any) -> Any:
        asked.extend(request.args[0] for request in requests)
        return whole(self, requests, **settings)

    monkeypatch.setattr(HFLM, "loglikelihood", spy)
    scored(data, model, general_limit=3, untrained=0)
    plain = [context for context in asked if "<|im_start|>" not in context]
    assert len(plain) == 3 * 4 * 2 + 3 * 2  # two built-in tasks of four choices, one of two
    assert any("What colour" in context for context in plain)
    assert len(asked) == len(plain) + 6 * 2


def test_a_domain_that_trains_on_the_topics_is_not_asked_about_them(workplace: Path) -> None:
    folder = write_toy(workplace)
    (folder / "domain.yaml").write_text(CARD.replace("role: general, source: {builtin", "role: corpus, source: {builtin"))
    made: Split = prepare.under(Direct(), prepare.job(Order("toy")))
    trained = list(_trained(made))
    assert len(trained) > 50
    seen = general_tasks._plain("\n".join(trained))
    left = general_tasks.rows("general_next", 1000, trained)
    assert len(left) < len(general_tasks.rows("general_next", 1000))
    assert not any(text in seen for row in left for text in (row["prompt"], *row["choices"]))


def test_a_name_that_is_taken_is_refused(toy: Path, workplace: Path) -> None:
    (toy / "eval" / "colour.yaml").write_text(TASK.replace("task: colour", "task: general_word"))
    with pytest.raises(ConfigError, match="brings itself"):
        domain.load("toy")


def test_the_text_that_they_are_made_from_is_part_of_the_suite(toy: Path, workplace: Path) -> None:
    assert domain.load("toy").suite.general_text == general_tasks.digest() != ""


def test_the_report_shows_them_by_stage_with_the_budget(workplace: Path) -> None:
    right = ["1" * 30 + "0" * 10, "1" * 29 + "0" * 11, "1" * 10 + "0" * 30, "1" * 10 + "0" * 30, "1" * 27 + "0" * 13, "1" * 31 + "0" * 9]
    made = []
    for score, marks in zip(scores([0.4, 0.5, 0.6, 0.6, 0.6, 0.6], [1.0] * 6), right, strict=True):
        value = marks.count("1") / 40
        general = [TaskScore(task="general_word", metric="acc", n=40, value=value, low=value - 0.1, high=value + 0.1, right=marks)]
        made.append(score.model_copy(update={"general": general}))
    html = rendered(scores=made)
    text = words(html)
    assert (
        "tuned: 0.250 of 40 rows, 0.500 less than the base (right alone on 0 rows against 20, p < 0.001), over the budget of 0.050" in text
    )
    assert (
        "student: 0.675 of 40 rows, 0.075 less than the base (right alone on 0 rows against 3, p = 0.250, so it may be chance), over"
        in text
    )
    assert "general tasks, quantised: 0.775 of 40 rows, 0.025 more than the base" in text
    assert "The tuned model is the first over the budget: try a lower learning rate." in text, "as long as no replay is known of it"
    assert "0.250 −0.500 over" in text
    assert "0.725 −0.025 within" in text
    assert "General tasks" in text
    assert 'aria-label="gain on domain tasks against fall on general tasks"' in html
    assert "No general task was scored" in words(rendered(scores=scores([0.5] * 6, [1.0] * 6)))


@pytest.mark.parametrize(
    ("over", "replay", "said"),
    [
        (
            1,
            {"pretrain": (0.15,), "tune": (0.3,)},
            "The pretrained model is the first over the budget: try pretrain.replay=0.3 next, where it is 0.15 now.",
        ),
        (
            2,
            {"pretrain": (0.15,), "tune": (0.0,)},
            "The tuned model is the first over the budget: try tune.replay=0.05 next, where it is 0 now.",
        ),
        (
            3,
            {"pretrain": (0.15,), "tune": (0.3,)},
            "The aligned model is the first over the budget: try tune.replay=0.5 next, where it is 0.3 now.",
        ),
        (2, {"tune": (0.1, 0.4)}, "The tuned model is the first over the budget: try tune.replay=0.5 next, where it is 0.4 now."),
        (2, {"tune": (0.6,)}, "The tuned model is the first over the budget: tune.replay is 0.6 already, so try a lower learning rate."),
        (9, {"tune": (0.3,)}, None),
    ],
)
def test_over_the_budget_a_share_of_replay_is_named_to_try_next(over: int, replay: dict[str, tuple[float, ...]], said: str | None) -> None:
    stages = {"base": "base", "pretrain": "pretrained", "tune": "tuned", "align": "aligned"}
    entries: list[Any] = []
    for place, (stage, name) in enumerate(stages.items()):
        score = TaskScore(task="general_word", metric="acc", n=40, value=0.5, low=0.4, high=0.6, right=("0" if place >= over else "1") * 40)
        asked, *reached = replay.get(stage, (None,))
        made = SimpleNamespace(config={} if asked is None else {"replay": asked}, measured={"replay": reached[0]} if reached else {})
        entries.append(SimpleNamespace(
            model=SimpleNamespace(stage=stage), name=name, made=made, scored=None, shipped=False, scores=SimpleNamespace(general=[score], tasks=[])
        ))  # fmt: skip
    assert page_general.sections(entries)["general_advice"] == said
