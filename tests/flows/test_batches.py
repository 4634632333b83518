"""What a plan shows of batches is what trainers get; what is cut is counted as the stages count it; what is barren is refused."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import batches as showing
from flows.adapt import AdaptConfig, adapt
from flows.prepare import prepare
from flows.rlhf import rlhf
from tasks import batches
from tasks.base import BaseConfig, base
from tasks.classify import classify
from tasks.lib import base_checks, models, objectives, preferences, preflight, row_checks, training, turns
from tasks.lib.base_source import resolve
from tasks.lib.errors import ConfigError
from tasks.lib.execute import Direct
from tasks.lib.flow import Job, Order
from tasks.lib.launch import Job as Training
from tasks.lib.mixing import Draws
from tasks.lib.model import Model
from tasks.lib.packing import IGNORED
from tasks.lib.records import iterate
from tasks.split import Split
from tasks.tune import pieces, tune
from tests.conftest import settled, slmforge, write_toy

pytestmark = pytest.mark.usefixtures("asked_here")
SOURCE = "base.source={kind: scratch, vocabulary: 400, hidden: 32, layers: 2, heads: 2, training: {length: 64, trainer: {max_steps: 2}}}"
SMALL = ("pretrain.length=64", "tune.length=30", "align.length=64", "reward.length=64", "distill.layers=1", SOURCE)
REWARDS = "rewards:\n  - {name: short, kind: length, words: 2}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The toy with some prompts that do not fit, and answers that do not; its data are split, and its base is made."""
    folder = tmp_path_factory.mktemp("batches")
    toy = write_toy(folder)
    card = toy / "domain.yaml"
    card.write_text(card.read_text() + REWARDS)
    with (toy / "data" / "colours.csv").open("a") as file:
        file.writelines(f"Which colour is {'very ' * 40}large number {n}?,red\n" for n in range(3))
    long = [{"q": "Which one?", "a": f"{'water ' * 80}{side}", "r": rating} for side, rating in (("red", 2), ("blue", 1))]
    with (toy / "data" / "ratings.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in long)
    with settled(folder):
        yield folder


@pytest.fixture(scope="module")
def start(place: Path) -> Model:
    source = job().cfg.base.source
    return base(BaseConfig(source=source), resolve(source))


def job(*words: str) -> Job[AdaptConfig]:
    return rlhf.job(Order("toy", None, (*SMALL, *words)))


def seen(stage: str, start: Model, data: Split, *words: str, count: int = 3) -> batches.Shown:
    return batches.shown(stage, job(*words), (start.path, True), data, count)


@pytest.mark.parametrize("stage", ["pretrain", "tune"])
def test_the_mask_of_a_block_is_the_labels_that_the_trainer_gets(stage: str, start: Model, data: Split, tmp_path: Path) -> None:
    cfg: Any = getattr(job().cfg, stage)
    network, tokenizer = models.load(start.path), models.load_tokenizer(start.path)
    objective, draws = objectives.choose(network, tokenizer, cfg.length), Draws(job().weights())
    if stage == "tune":
        exchanges, replayed, _ = pieces(objective.encoder, data, cfg, draws, cfg.replay)
        listed = [*exchanges, *replayed.pieces]
    else:
        texts = batches.mixture(data, cfg.replay, cfg.seed, draws).texts
        listed = [piece for text, source in texts for piece in objective.encoder.document(text, source)]
    blocks = objective.blocks(listed, cfg.seed)
    said = {"what": stage, "collation": objective.collation(cfg.seed).said()}
    trainer = training.blocks_lesson(Training(training.blocks_lesson, network, tokenizer, blocks, cfg, said), str(tmp_path)).trainer
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(3)])
    found = seen(stage, start, data)
    assert found.of == len(trainer.train_dataset)
    for place, (block,) in enumerate(found.examples):
        size = len(block.ids)
        assert block.ids == batch["input_ids"][place, :size].tolist()
        assert block.mask == (batch["labels"][place, :size] != IGNORED).int().tolist()
        assert set(batch["labels"][place, size:].tolist()) <= {IGNORED}
        assert 0 < sum(block.mask) < size
        assert "".join(span.text for span in block.spans) == tokenizer.decode(block.ids)
        assert sum(span.begins for span in block.spans) == len(block.documents)


@pytest.mark.parametrize("kind", ["dpo", "kto", "reward"])
def test_the_mask_of_a_pair_is_that_of_the_trainer(kind: str, start: Model, data: Split, tmp_path: Path) -> None:
    stage = "reward" if kind == "reward" else "align"
    words = () if kind == "reward" else (f"align.method={{kind: {kind}}}",)
    found = seen(stage, start, data, *words)
    tokenizer = models.load_tokenizer(start.path)
    asked = [example["chosen"].ids for example in map(by_name, found.examples)]
    made, _ = preferences.pairs(batches_encoder(tokenizer), batches.iterate(data.path, "preference-train"))
    cfg: Any = getattr(job(*words).cfg, stage)
    rows = preferences.Dataset.from_list(made[:3])
    if kind == "kto":
        rows = preferences.unpair_preference_dataset(rows)
    network = preferences.new_scorer(start.path, tokenizer) if kind == "reward" else models.load(start.path)
    lesson = {"dpo": preferences.dpo_lesson, "kto": preferences.kto_lesson, "reward": preferences.reward_lesson}[kind]
    trainer = lesson(Training(lesson, network, tokenizer, rows, cfg, {}), str(tmp_path)).trainer
    batch = trainer.data_collator(list(trainer.train_dataset))
    assert len(asked) == 3
    for place, example in enumerate(map(by_name, found.examples)):
        for side, name in enumerate(("chosen", "rejected")):  # all chosen ones come first
            row, part = place + 3 * side, example[name]
            assert part.ids == batch["input_ids"][row][batch["attention_mask"][row] == 1].tolist()
            wanted = batch["completion_mask"][row][: len(part.ids)].tolist() if "completion_mask" in batch else [0] * len(part.ids)
            assert part.mask == wanted


def by_name(example: list[batches.Sequence]) -> dict[str, batches.Sequence]:
    return {part.name: part for part in example}


def batches_encoder(tokenizer: Any) -> Any:
    from tasks.lib.packing import Encoder

    return Encoder(tokenizer, 64)


def test_counts_are_those_of_the_stage(start: Model, data: Split) -> None:
    found = seen("tune", start, data)
    cfg = job().cfg.tune.model_copy(update={"trainer": {"max_steps": 1}})
    made = tune(cfg, start, data)
    assert {name: drawn.model_dump(exclude={"trained"}) for name, drawn in made.drawn.items()} == {
        name: drawn.model_dump(exclude={"trained"}) for name, drawn in found.counts.items()
    }
    assert found.tally.items() <= made.data.items()
    colours = found.counts["colours"]
    assert colours.truncated == found.tally["rows_truncated"] >= 1
    assert colours.tokens_truncated == found.tally["tokens_truncated"] > 30
    pairs = seen("align", start, data)
    assert pairs.counts["ratings"].too_long == pairs.tally["rows_too_long"] == 1
    assert pairs.of == data.counts["preference-train"] - 1


def test_prompts_of_a_reinforcement_end_where_the_model_answers(start: Model, data: Split) -> None:
    found = seen("reinforce", start, data, "reinforce.length=64", "reinforce.answer=8")
    ((first,), *_) = found.examples
    assert "".join(span.text for span in first.spans).endswith("<|im_start|>assistant\n")
    assert sum(first.mask) == 0
    assert "8 tokens" in found.note


def test_texts_of_a_classifier_have_their_labels_and_the_counts_of_the_stage(
    start: Model, data: Split, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("classify.length=16", "classify.trainer={max_steps: 1}")
    found = batches.shown("classify", job(*words), (start.path, True), data, 2)
    made = classify(job(*words).cfg.classify, start, data)
    assert {name: drawn.model_dump(exclude={"trained"}) for name, drawn in made.drawn.items()} == {
        name: drawn.model_dump(exclude={"trained"}) for name, drawn in found.counts.items()
    }
    assert found.tally.items() <= made.data.items()
    assert found.counts["colours"].truncated > 0
    rows = [row for row in iterate(data.path, "tune-train") if row["choices"]]
    assert found.of == len(rows)
    for (text,), row in zip(found.examples, rows, strict=False):
        assert text.label == row["response"]
        assert row["prompt"].endswith("".join(span.text for span in text.spans))
        assert sum(text.mask) == 0
    showing.show([found], adapt.plan(job(*words)))
    printed = capsys.readouterr().out
    assert f"text 1: {len(found.examples[0][0].ids)} tokens, labelled '{rows[0]['response']}'" in printed
    assert "which of 2 labels" in printed
    assert showing.told(found)["examples"][0][0]["label"] == rows[0]["response"]


def test_text_that_a_terminal_would_obey_is_shown_as_what_it_is() -> None:
    assert batches.disarmed("a\x1b[2Jb\u202ec\n") == "a\\u001b[2Jb\\u202ec\n"


def test_words_that_pretraining_adds_are_in_what_is_shown(start: Model, data: Split) -> None:
    words = "pretrain.new_tokens=[stone, item]"
    documents, longer = (sum(drawn.size for drawn in seen("pretrain", start, data, *given).counts.values()) for given in ((words,), ()))
    assert documents < longer
    prompt, plain = (seen("align", start, data, *given).examples[0][0] for given in ((words,), ()))
    assert len(prompt.ids) < len(plain.ids)
    assert " item" in prompt.tokens


@pytest.mark.long
def test_the_command_prints_marks_without_a_terminal_and_colours_with_one(start: Model, data: Split, place: Path) -> None:
    words = ("plan", "toy", *SMALL)
    done = slmforge(*words, "--batches", "1", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "legend: ⟦learned⟧" in done.stdout
    assert "user\nColour of item" in done.stdout
    assert "⟦red<|im_end|>" in done.stdout
    coloured = slmforge(*words, "--batches", "1", cwd=place, FORCE_COLOR="1").stdout
    assert "\x1b[32mred" in coloured
    assert "⟦" not in coloured
    told = json.loads(slmforge(*words, "--json", "--batches", cwd=place).stdout)["batches"]
    assert [one["stage"] for one in told] == ["pretrain", "tune", "align"]
    assert {len(one["examples"]) for one in told} == {2}
    found = seen("tune", start, data).examples[0][0]
    assert {key: told[1]["examples"][0][0][key] for key in ("ids", "mask", "tokens")} == {
        "ids": found.ids, "mask": found.mask, "tokens": found.tokens,
    }  # fmt: skip


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[tuple[str, bool, bool, bool]]], str]:
    def draw(spans: list[tuple[str, bool, bool, bool]]) -> str:
        part = batches.Sequence("block", [], [], [], [0], [batches.Span(*span) for span in spans])
        return showing._drawn(part, coloured=False).plain

    return draw


def test_brackets_close_where_learning_ends(drawn: Callable[..., str]) -> None:
    one = [("<s>", False, True, True), ("a ", True, False, False), ("b", True, True, False)]
    assert drawn([*one, *one, ("c", False, False, False)]) == "¶ <s>⟦a b⟧\n¶ <s>⟦a b⟧c"


def test_what_is_missing_is_said_with_the_command_that_makes_it(toy: Path) -> None:
    asked = Order("toy", None, ("tune.length=30",), "starter")
    planned = adapt.job(asked)
    with pytest.raises(ConfigError, match=r"slmforge check toy tune.length=30 --edition starter"):
        showing.of(asked, planned, adapt.plan(planned), 1)
    prepare.under(Direct(), planned)
    with pytest.raises(ConfigError, match=r"slmforge evaluate toy tune.length=30 --edition starter"):
        showing.of(asked, planned, adapt.plan(planned), 1)


def barren(*words: str) -> list[str]:
    found = job(*words)
    return [fault.sentence() for fault in row_checks.faults(found, rlhf.plan(found), {"tune", "align", "reward", "distill"})]


def test_a_dataset_of_which_nothing_would_be_learned_is_a_fault(start: Model, data: Split, place: Path) -> None:
    assert barren("distill.length=64") == []
    said = barren("tune.length=16", "align.length=16", "distill.length=64")
    assert [sentence.split(" is left")[0] for sentence in said] == ["align: no pair of dataset 'ratings'"]
    with pytest.raises(ConfigError, match=r"no pair of dataset 'ratings' is left to learn from: none of its 3\d rows fits align.length"):
        preflight.require_trainable(rlhf.fn, job("align.length=16", "reinforce.length=128"))
    done = slmforge("plan", "toy", *SMALL, "align.length=16", "--json", cwd=place)
    assert done.returncode == 5
    assert any("no pair of dataset 'ratings'" in blocker for blocker in json.loads(done.stdout)["blockers"])


def test_answers_that_are_all_too_long_are_a_fault_of_their_dataset_alone(start: Model, data: Split, place: Path) -> None:
    from tasks.lib import row_facts
    from tasks.lib.packing import Encoder

    encoder = Encoder(models.load_tokenizer(start.path), 16)
    texts = (("a", "word " * 40), ("b", "so"), ("a", "stone " * 40))
    rows = [{"dataset": name, "role": "tune", "prompt": "?", "response": text} for name, text in texts]
    assert row_facts._barren({"tune": encoder}, iter(rows), ["a", "b", "not drawn"]) == [("tune", "a", 2)]


TWICE = turns.CHATML.replace("message['content'] + '<|im_end|>' }}{% endgen", "message['content'] * 2 + '<|im_end|>' }}{% endgen")


@pytest.mark.long
@pytest.mark.parametrize(
    ("template", "said"),
    [
        (turns.CHATML, None),
        (TWICE, "renders the answer 2 times"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "no answer behind the question"),
    ],
)
def test_a_template_that_repeats_or_leaves_out_the_answer_is_a_fault(template: str, said: str | None, toy: Path, tmp_path: Path) -> None:
    tokenizer = models.train_tokenizer(["one two three four"], 300)
    tokenizer.chat_template = template
    folder = tmp_path / "model"
    models.save(models.new_decoder(tokenizer, 32, 3, 2, 128), tokenizer, folder)
    found = adapt.job(Order("toy", None, (f"base.source={{kind: folder, path: {folder}}}",)))
    told = [fault.sentence() for fault in base_checks.faults(found, {"tune"})]
    assert told == [] if said is None else said in told[0]


def test_nothing_is_said_of_stages_that_are_cached_or_before_the_data_are_there(toy: Path) -> None:
    found = adapt.job(Order("toy", None, ("align.length=16",)))
    assert row_checks.faults(found, adapt.plan(found), {"align"}) == []


def test_what_is_told_can_be_written_as_json(start: Model, data: Split) -> None:
    told = showing.told(seen("reward", start, data, count=1))
    assert json.loads(json.dumps(told))["counts"]["ratings"]["too_long"] == 1
    assert dataclasses.asdict(seen("reward", start, data, count=1))["note"]
