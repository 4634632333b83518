"""Preference tuning by KTO, reward models and learning from rewards in two processes: what one process learns, or as much."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.align import AlignConfig, Kto
from tasks.lib import launch, models, policies, preferences, tracking
from tasks.lib.config import build
from tasks.lib.errors import ConfigError
from tasks.lib.packing import Encoder
from tasks.lib.reinforcement import Questions, Scorer, Watch, changes, questions
from tasks.lib.rewards import Rewards
from tasks.lib.score import Change
from tasks.lib.training import Learned, Lesson, fit
from tasks.lib.training_config import TrainingConfig
from tasks.lib.worker import _job
from tasks.reinforce import Grpo, ReinforceConfig, Rloo
from tests.lib.test_launch import PROCESSES, SAME, SETTINGS, TOKENIZER, WORDS, assert_reloads, model, pairs

pytestmark = pytest.mark.long

ENGINES = {"ddp": "DistributedDataParallel", "zero2": "DeepSpeedEngine", "zero3": "DeepSpeedEngine"}
SLOW = pytest.mark.slow
RIGHT = Rewards.model_validate({"of": [{"name": "right", "kind": "label"}]})
HELD = 41  # held-out prompts, an odd number: shares differ


def scorer(folder: Path) -> Any:
    models.save(model(), TOKENIZER, folder)
    return preferences.new_scorer(folder, TOKENIZER)


def preferring(what: str, network: Any, cfg: TrainingConfig) -> Learned:
    if what == "kto":
        return preferences.fit_kto(network, TOKENIZER, pairs(), cfg, Kto(kind="kto", undesirable_weight=0.5))
    return preferences.fit_reward(network, TOKENIZER, pairs(), cfg, 0.01)


# KTO: an epoch of 21 pairs is a step of 8 and 8, and one of 5; of four processes, shares of a turn differ in size
@pytest.mark.parametrize(
    ("what", "parallel", "devices"),
    [
        ("kto", "zero2", PROCESSES),
        *(pytest.param(what, parallel, PROCESSES, marks=SLOW) for what, parallel in [("kto", "ddp"), ("kto", "zero3")]),
        pytest.param("kto", "ddp", 4, marks=SLOW),
        *(pytest.param("reward", parallel, PROCESSES, marks=SLOW) for parallel in ENGINES),
    ],
)
def test_processes_prefer_what_one_prefers(what: str, parallel: str, devices: int, workplace: Path) -> None:
    made = []
    for count in (1, devices):
        network = model() if what == "kto" else scorer(workplace / "body")
        with tracking.active(None) as current:
            learned = preferring(what, network, TrainingConfig.model_validate({**SETTINGS, "devices": count, "parallel": parallel}))
        made.append((network, learned, current.measured))
    (one, expected, reference), (many, learned, measured) = made
    assert measured["engine"] == ENGINES[parallel]
    assert learned.facts == expected.facts
    assert learned.times == expected.times
    assert [p["loss"] for p in measured["curve"]] == pytest.approx([p["loss"] for p in reference["curve"]], abs=SAME)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(many.state_dict()[name], value, atol=10 * SAME, rtol=0)
    if what == "kto":
        assert_reloads(many, workplace / "saved")
        return
    models.save(many, TOKENIZER, workplace / "saved")
    chats = [pair["prompt"] + pair["chosen"] for pair in pairs()]
    again = preferences.load_scorer(workplace / "saved")
    assert preferences.scores(again, TOKENIZER, chats) == preferences.scores(many, TOKENIZER, chats)


def asked(count: int, start: int) -> Questions:
    """The right answer is the one of two words that the guessing model says less often."""
    rows = [
        {"dataset": "words", "prompt": f"{WORDS[n % 12]} {n // 12}", "response": WORDS[1], "choices": WORDS[:2]}
        for n in range(start, start + count)
    ]
    return questions(Encoder(TOKENIZER, 32), rows, RIGHT.of, 4)


def guessing(workplace: Path) -> Any:
    """A model that answers with one of two words, either one."""
    network, encoder = model(), Encoder(TOKENIZER, 64)
    said = [{"prompt": f"{WORDS[n % 12]} {n // 12}", "response": WORDS[n * 7 % 11 % 2]} for n in range(120)]
    blocks = encoder.pack((piece for row in said for piece in encoder.exchange(row)), 0)
    fit(network, TOKENIZER, blocks, TrainingConfig.model_validate({**SETTINGS, "length": 64, "accumulation": 1, "epochs": 12}), "tune")
    models.save(network, TOKENIZER, workplace / "guessing")
    return models.load(workplace / "guessing")


@pytest.fixture
def reinforced(workplace: Path) -> Callable[..., tuple[Any, Learned, Change, dict[str, Any]]]:
    """Train the guessing model on rewards."""
    start = guessing(workplace)

    def make(**given: Any) -> tuple[Any, Learned, Change, dict[str, Any]]:
        cfg = ReinforceConfig.model_validate(
            {**SETTINGS, "batch": 4, "learning_rate": 1e-2, "checks": 2, "answer": 4, "trainer": {"max_steps": 10}, **given}
        )
        network, _ = (net.to(models.device(cfg.device)) for net in (models.load(workplace / "guessing"), start))
        watch = Watch(Scorer(), RIGHT.of, asked(HELD, 120), start, TOKENIZER, cfg.answer)
        before = watch.look(network, 0)
        with tracking.active(None) as current:
            learned = policies.fit_policy(network, TOKENIZER, asked(120, 0), RIGHT, cfg, watch)
        return network, learned, changes(before, watch.look(network, 10))["right"], current.measured

    return make


@pytest.mark.parametrize(
    ("method", "parallel"),
    [
        (Grpo(), "zero2"),
        *(pytest.param(Grpo(), parallel, marks=SLOW) for parallel in ("ddp", "zero3")),
        *(pytest.param(Rloo(kind="rloo"), parallel, marks=SLOW) for parallel in ENGINES),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_two_processes_are_rewarded_as_one_is(
    method: Grpo | Rloo, parallel: str, workplace: Path, reinforced: Callable[..., tuple[Any, Learned, Change, dict[str, Any]]]
) -> None:
    """Answers are drawn by each process, so weights are others; prompts, counts and what is learned are not."""
    _, expected, alone, reference = reinforced(method=method)
    network, learned, change, measured = reinforced(method=method, devices=PROCESSES, parallel=parallel)
    assert measured["engine"] == ENGINES[parallel]
    assert learned.facts == expected.facts
    assert learned.times == expected.times, "the same prompts in the same order, each group in one process"
    assert alone.low is not None
    assert change.low is not None
    assert change.low > 0, "the held-out reward rises"
    assert change.before == alone.before
    assert alone.low <= change.after - change.before <= (alone.high or 0), "within the interval of one process"
    assert [point["step"] for point in measured["watch"]] == [point["step"] for point in reference["watch"]] == [4, 8]
    assert {key for point in measured["watch"] for key in point} == {"step", "held_out/right", "held_out/kl", "held_out/length"}
    assert len(measured["curve"]) == 10
    assert measured["curve"][0].keys() == reference["curve"][0].keys()
    assert_reloads(network, workplace / "saved")


HONEST = policies.policy_lesson


def canned_lesson(job: launch.Job, work: str) -> Lesson:
    """The answers to a prompt are fixed, in whatever process: what is left is the arithmetic of a step."""
    lesson = HONEST(job, work)
    trainer: Any = lesson.trainer
    trainer._generate_single_turn = canned if isinstance(trainer, policies.CountingGRPO) else lambda *given: canned(*given)[0]
    return lesson


def canned(prompts: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
    """For the n-th time that a prompt is met, an answer that follows from both; some are longer."""
    met: Counter[tuple[int, ...]] = Counter()
    answers = []
    for prompt in prompts:
        turn = met[tuple(prompt)]
        met[tuple(prompt)] += 1
        said = TOKENIZER.encode(WORDS[(sum(prompt) + turn) % 3] * (1 + turn % 2), add_special_tokens=False)
        answers.append([*said[:3], TOKENIZER.eos_token_id])
    return answers, None


@SLOW
@pytest.mark.parametrize(
    ("method", "parallel"),
    [(Grpo(), "ddp"), (Grpo(), "zero2"), (Rloo(kind="rloo"), "ddp")],
    ids=lambda value: getattr(value, "kind", value),
)
def test_of_the_same_answers_two_processes_learn_what_one_learns(
    method: Grpo | Rloo,
    parallel: str,
    monkeypatch: pytest.MonkeyPatch,
    reinforced: Callable[..., tuple[Any, Learned, Change, dict[str, Any]]],
) -> None:
    monkeypatch.setattr(policies, "policy_lesson", canned_lesson)
    given = {"method": method, "learning_rate": 0.02, "warmup": 0.0, "trainer": {"max_steps": 4, "optim": "sgd"}}
    one, two = (reinforced(**given, devices=count, parallel=parallel) for count in (1, PROCESSES))
    for key in ("loss", "reward", "reward_std"):
        mine, theirs = ([point[key] for point in made[3]["curve"]] for made in (two, one))
        assert mine == pytest.approx(theirs, abs=SAME)
    assert one[3]["curve"][0]["reward_std"] > 0.1
    before = models.load(Path("guessing")).state_dict()
    assert any((value - before[name]).abs().max() > 100 * SAME for name, value in one[0].state_dict().items()), (
        "there was something to learn"
    )
    for name, value in one[0].state_dict().items():
        torch.testing.assert_close(two[0].state_dict()[name], value, atol=10 * SAME, rtol=0)


@SLOW
@pytest.mark.parametrize("parallel", ENGINES)
def test_at_a_learning_rate_of_zero_the_watch_of_two_is_that_of_one(
    parallel: str, reinforced: Callable[..., tuple[Any, Learned, Change, dict[str, Any]]]
) -> None:
    """Held-out prompts are shared, and each is judged once."""
    given = {"learning_rate": 0.0, "trainer": {"max_steps": 2}, "checks": 1}
    one, two = (reinforced(**given, devices=count, parallel=parallel)[3]["watch"] for count in (1, PROCESSES))
    assert [point["step"] for point in one] == [point["step"] for point in two] == [1]
    assert two[0] == pytest.approx(one[0], abs=SAME)


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (AlignConfig, {"method": {"kind": "kto"}, "batch": 3, "accumulation": 2}, "3 is no multiple of 2.*over a whole batch"),
        (AlignConfig, {"method": {"loss": "aot"}}, "the loss aot sorts what one device takes at once"),
        (AlignConfig, {"method": {"loss": "aot_unpaired"}}, "the loss aot_unpaired sorts"),
        (ReinforceConfig, {"method": {"loss": "bnpo"}}, "the loss bnpo is a mean over what one device takes at once"),
        (ReinforceConfig, {"trainer": {"steps_per_generation": 2}}, "'steps_per_generation' counts what one device takes"),
        (ReinforceConfig, {"batch": 3}, "3 is no multiple of 2"),
    ],
)
def test_what_devices_would_make_another_result_of_is_refused(kind: Any, given: dict[str, Any], expected: str) -> None:
    build(kind, given, "settings")
    with pytest.raises(ConfigError, match=expected):
        build(kind, {**given, "devices": PROCESSES}, "settings")


def test_a_tokenizer_travels_with_a_job(workplace: Path) -> None:
    job = launch.Job(
        preferences.kto_lesson, model(), TOKENIZER, preferences.Dataset.from_list(pairs()), TrainingConfig(), {"own": TOKENIZER}
    )
    launch.write(job, workplace)
    taken = _job(workplace, json.loads((workplace / launch.JOB).read_text()), job.cfg)
    assert taken.options["own"].get_vocab() == TOKENIZER.get_vocab()
