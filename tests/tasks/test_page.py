"""The report's page, made from small artifacts in a store of its own."""

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tasks.check import Checked
from tasks.evaluate import Scores
from tasks.lib import feedback, page, store
from tasks.lib.domain import Duties
from tasks.lib.expectations_result import Verdict
from tasks.lib.model import Aligned, Model, Quantized, Reinforced, Student
from tasks.lib.records import LedgerLine
from tasks.lib.score import TaskScore
from tasks.lib.store import Artifact, Record
from tasks.register import Version
from tasks.report import ReportConfig, report
from tasks.split import Split

A = TypeVar("A", bound=Artifact)
STAGES = ("base", "pretrain", "tune", "align", "distill", "quantize")
PEOPLE = ("base", "pretrained", "tuned", "aligned", "student", "quantised")
HOSTILE = "<script>alert('$x$')</script>"
BETTER = {"student_corpus_loss": 3.5, "control_corpus_loss": 3.7, "student_response_loss": 1.1, "control_response_loss": 1.2}
WORSE = {"student_corpus_loss": 3.7, "control_corpus_loss": 3.5, "student_response_loss": 1.2, "control_response_loss": 1.1}
DUTIES = Duties(domain="tiny", purpose=f"testing {HOSTILE}", excluded_uses=["everything else"], owner="nobody", risk="low")


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMFORGE_RUNS", str(tmp_path / "runs"))


def keep(artifact: A, measured: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None) -> A:
    """Commit an artifact's record, as the executor does."""
    folder = store.workspace(artifact.id)
    made = {"cpus": 2, "ended": "2026-11-20T22:25:25+00:00", "commit": "c" * 40}
    facts = artifact.model_dump(mode="json", exclude={"id", "digest"})
    record = Record(
        stage=artifact.stage, version="1", id=artifact.id, digest=artifact.digest, identity={}, config={"seed": 42},
        inputs=inputs or {}, facts=facts, measured=measured or {}, files=[], libraries={"torch": "2.13.0"}, made=made,
    )  # fmt: skip
    store.commit(folder, record)
    return artifact


def line(name: str, used: int, kind: str = "public", **aside: int) -> LedgerLine:
    total = used + sum(aside.values())
    return LedgerLine(
        dataset=name, role="tune", file=f"data/{name}.jsonl", sha256="a" * 64, licence="CC-BY-4.0", kind=kind,
        publisher=HOSTILE, rows_in=total, rows_used=used, set_aside={key.replace("_", "-"): n for key, n in aside.items()},
    )  # fmt: skip


def split(*ledger: LedgerLine) -> Split:
    counts = {"tune-train": sum(row.rows_used for row in ledger)}
    return keep(Split(id="split/1", digest="5" * 64, ledger=list(ledger), counts=counts, eval_sets={"held": 20}))


def models(duel: dict[str, float], *, curves: bool = True) -> list[Model]:
    made: list[Model] = []
    for place, name in enumerate(STAGES):
        facts = {"id": f"{name}/1", "digest": f"{place}" * 64, "parameters": 1000, "vocabulary": 300, "bytes": 4_000_000}
        packing = {"rows": 90, "rows_too_long": 7 if name == "tune" else 0, "steps": 2}
        match name:
            case "distill":
                model: Model = Student(**facts, data=packing, layers=2, teacher_layers=4)
            case "quantize":
                model = Quantized(**facts, scheme="int8-weight-only")
            case _:
                model = Model(**facts, data={} if name == "base" else packing)
        curve = [{"step": step, "loss": 3.0 / step, "rewards/accuracies": 0.5} for step in (1, 2)]
        learned = {"curve": curve, "seconds": 60, "tokens_per_second": 1234.5, "peak_memory": 10**9}
        made.append(keep(model, {**(learned if curves else {}), **(duel if name == "distill" else {})}))
    return made


def scores(values: Sequence[float | None], bits: Sequence[float | None], metric: dict[str, Any] | None = None) -> list[Scores]:
    suite = {"suite": {"tasks": {"t": {"task": "colour", "metric_list": [metric or {"metric": "acc"}]}}}}
    made = []
    for place, name in enumerate(STAGES):
        value = values[place]
        tasks = [TaskScore(task="shape", metric="", n=0, not_run="no evaluation set 'shape' in this edition")]
        if value is not None:
            low, high = value - 0.1, value + 0.1
            tasks.append(TaskScore(task="colour", metric=(metric or {"metric": "acc"})["metric"], n=50, value=value, low=low, high=high))
        answers = [{"prompt": f"what is {HOSTILE}?", "wanted": "red", "answer": f"{HOSTILE} says {name}"}]
        subject = Scores(
            id=f"evaluate/{place}", digest=f"e{place}" * 32, subject=name, domain_bits_per_byte=bits[place],
            general_bits_per_byte=bits[place], tasks=tasks, answers=answers, weight_bytes=4_000_000, parameters=1000,
        )  # fmt: skip
        speed = {"decode_tokens_per_second": 100.0 + place, "first_token_ms": 25.5, "token_ms": 9.9}
        made.append(keep(subject, {**speed, "latency_device": "cpu", "latency_threads": 2, "latency_type": "float32"}, suite))
    return made


def rendered(duel: dict[str, float] | None = None, **given: Any) -> str:
    verdict = Verdict(
        role="tune", expectation="expect_x", kwargs={"column": HOSTILE}, severity=given.get("severity", "warning"), passed=False, judged=9, failing=1,
        failing_ids=["one:1"],
    )  # fmt: skip
    return page.render(
        "tiny, version 7",
        DUTIES,
        given.get("data") or split(line("one", 1_200, exact_repeat=30, empty=4), line("two", 66, "synthetic", exact_repeat=1)),
        keep(
            Checked(id="check/1", digest="6" * 64, verdicts=[verdict] if given.get("judged", True) else []),
            inputs={"expectations": {"accepted": given.get("accepted", {})}},
        ),
        given.get("models") or models(BETTER if duel is None else duel, curves=given.get("curves", True)),
        given.get("scores") or scores([0.4, 0.45, 0.5, 0.5, 0.6, 0.6], [2.0, 1.8, 1.7, 1.7, 1.6, 1.5]),
        keep(Version(id="register/1", digest="7" * 64, name="tiny", version="7", run="r", lineage_sha256="1" * 64)),
    )


def words(html: str) -> str:
    """What a person reads."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))).split())


def test_totals_balance_on_the_page() -> None:
    text = words(rendered())
    assert "1,301 rows in = 1,266 used + 35 set aside" in text
    assert "does not balance" not in text
    assert "two synthetic tune" in text


def test_latency_stands_beside_where_it_was_measured() -> None:
    text = words(rendered())
    assert "ms to the first token ms per token tokens per second measured on" in text
    assert "25.5 9.9 100.0 cpu, 2 threads, float32" in text


def test_a_ledger_that_does_not_balance_is_called_a_fault() -> None:
    broken = line("one", 10).model_copy(update={"rows_in": 11})
    assert "does not balance" in words(rendered(data=split(broken)))


def test_what_comes_from_data_is_text_and_nothing_else() -> None:
    html = rendered()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 8


def test_the_page_loads_nothing() -> None:
    html = rendered()
    assert not re.search(r"https?:|@import|<link|<img|<iframe|url\((?!#)", html)
    assert all(target.startswith("#") for target in re.findall(r'(?:src|href)="([^"]*)"', html))


def test_ids_are_not_given_twice() -> None:
    once: dict[str, str] = {}
    for tag, name in re.findall(r'(<[^<]* id="([^"]+)"[^>]*>)', rendered()):
        assert once.setdefault(name, tag) == tag


def test_every_model_is_named_in_plots_and_tables() -> None:
    html = rendered()
    for name in PEOPLE:
        assert f">{name}</text>" in html
        assert re.search(rf"<th>{name}\b", html)
    assert html.count("shipped</span>") > 3


def test_the_page_names_who_accepted_the_data() -> None:
    first, second = ({"by": by, "on": "2026-11-20", "why": f"read by hand {HOSTILE}", "edition": "starter"} for by in ("A. Doe", "B. Roe"))
    text = words(rendered(accepted={"one": first, "three": first, "two": second}))
    assert f"A. Doe 2026-11-20 read by hand {HOSTILE} one, three" in text
    assert f"B. Roe 2026-11-20 read by hand {HOSTILE} two" in text
    assert "Nobody has put their name" not in text
    assert "Nobody has put their name to these data" in words(rendered())


def test_lost_rows_stand_out() -> None:
    assert '<b class="bad">7</b>' in rendered()


@pytest.mark.parametrize(
    ("duel", "said"),
    [
        (BETTER, "the student is better than the same student without its teacher"),
        (WORSE, "the student is worse than the same student without its teacher"),
        ({**BETTER, "student_response_loss": 9.0}, "the teacher helped the student on documents but not on answers"),
        ({"student_corpus_loss": 2.0, "control_corpus_loss": 2.0}, "exactly as good as the same student without its teacher"),
        ({"student_corpus_loss": 2.0}, "whether the teacher helped is not known"),
    ],
)
def test_the_page_says_whether_the_teacher_helped(duel: dict[str, float], said: str) -> None:
    assert said in words(rendered(duel))


@pytest.mark.parametrize(("severity", "word"), [("critical", "fail"), ("warning", "warn"), ("info", "note")])
def test_an_expectation_that_stops_nothing_is_no_failure(severity: str, word: str, workplace: Path) -> None:
    before, _ = words(rendered(severity=severity)).split(" tune x ", 1)
    assert before.endswith(f" {word}")


def test_the_verdict_follows_the_numbers() -> None:
    worse = scores([0.6, 0.5, 0.5, 0.5, 0.5, 0.4], [1.5, 1.6, 1.7, 1.8, 1.9, 2.0])
    text, other = words(rendered()), words(rendered(scores=worse))
    assert "needs 1.500 bits per byte, 25.0 % fewer than the base's 2.000" in text
    assert "1 of 1 task improved; at best colour gains 0.200 acc" in text
    assert "95 % interval of the gain +0.059 to +0.341)" in text  # hypot(0.1, 0.1) on either side of 0.2
    assert "needs 2.000 bits per byte, 33.3 % more than the base's 1.500" in other
    assert "no task improved; at best colour loses 0.200 acc" in other
    assert "which is forgetting" in other
    assert "which is forgetting" not in text


def test_a_gain_within_chance_is_called_so() -> None:
    assert "so it may be chance" in words(rendered(scores=scores([0.5] * 5 + [0.55], [1.0] * 6)))


def test_a_metric_that_should_fall_gains_by_falling() -> None:
    falling = {"metric": "error", "higher_is_better": False}
    assert "colour gains 0.200 error (0.600 to 0.400" in words(rendered(scores=scores([0.6] * 5 + [0.4], [1.0] * 6, falling)))


def test_missing_values_do_not_break_the_page() -> None:
    text = words(rendered({}, data=split(), scores=scores([None] * 6, [None] * 6), judged=False, curves=False))
    assert "were not measured; no task was scored on both models; whether the teacher helped is not known" in text
    assert "shape was not run: no evaluation set 'shape' in this edition." in text
    assert "No stage left a loss curve." in text
    assert "no dataset was read" in text
    for broken in ("None", "nan", "Undefined"):
        assert broken not in text


def test_a_model_without_a_record_still_has_its_scores() -> None:
    unknown = [score.model_copy(update={"id": f"evaluate/gone{place}"}) for place, score in enumerate(scores([0.5] * 6, [1.0, None] * 3))]
    assert "100.0" not in words(rendered(scores=unknown))


def test_the_same_artifacts_give_the_same_bytes() -> None:
    assert rendered() == rendered()


def test_preferences_and_rewards_are_told_with_their_intervals_and_plots() -> None:
    change = {"n": 40, "before": 0.5, "after": 0.75, "low": 0.1, "high": 0.4}
    fallen = {**change, "after": 0.25, "low": -0.4, "high": -0.1}
    share = {"n": 40, "value": 0.8, "low": 0.65, "high": 0.9}
    facts = {"digest": "9" * 64, "parameters": 1000, "vocabulary": 300, "bytes": 4_000_000}
    aligned = Aligned.model_validate({"id": "align/9", **facts, "held_out": {"won": share, "margin": change, "likelier": change}})
    watched = {"liked": change, "right": fallen}
    made = Reinforced.model_validate(
        {"id": "reinforce/9", **facts, "trained": ["liked"], "constant": ["dull"], "watched": watched, "ranking": share}
    )
    curve = [{"step": step, "reward": 0.1 * step, "kl": 0.2, "frac_reward_zero_std": 0.5} for step in (1, 2)]
    measured = {"curve": curve, "watch": [{"step": 0, "held_out/right": 0.5, "held_out/length": 3.0}, {"step": 2, "held_out/right": 0.25}]}
    part = feedback.part([aligned, made], [{}, measured])
    assert part["suspicion"] == "liked rose while right fell: the model may have learned the reward instead of the task"
    pairs, ranked, dull = part["feedback"]
    assert "wins in 0.800 of 40 held-out pairs (95 % interval 0.650 to 0.900)" in pairs
    assert "ranks 0.800 of 40 held-out pairs right (95 % interval 0.650 to 0.900)." in ranked
    assert dull.startswith("The reward dull told none")
    titles = [title for title, _ in part["reward_curves"]]
    assert "right, held-out prompts (a judge)" in titles
    assert any("share of groups" in title for title in titles)
    assert feedback.part([], []) == {"feedback": [], "watched": [], "reward_curves": [], "suspicion": None}


def test_what_was_gained_is_drawn_against_what_was_forgotten() -> None:
    html = rendered()
    assert 'aria-label="domain gain against general loss"' in html
    assert "rise on general text (%)" in html


def test_trainings_under_a_forgetting_budget_are_told_with_the_one_that_was_kept() -> None:
    base, pretrained, *others = models(BETTER)
    tried = [{"replay": share, "forgot": rise, "corpus": [3.0, 2.0], "general": [2.0, 2.1]} for share, rise in ((0.1, 0.05), (0.2, 0.01))]
    tried[1] |= {"reached": 0.15, "exhausted": True}
    pretrained = keep(pretrained.model_copy(update={"id": "pretrain/budget"}), {"forgetting": tried, "replay": 0.2})
    said = words(rendered(models=[base, pretrained, *others]))
    assert "Trainings under a forgetting budget" in said
    assert re.search(r"15\.0 % of 20\.0 % asked for: there is no more text\s+\+1\.00 %\s+2\.0000\s+kept", said)
    assert not re.search(r"10\.0 %\s+\+5\.00 %\s+2\.0000\s+kept", said)


@pytest.mark.parametrize("answers", [0, 1])
def test_as_many_sample_answers_are_shown_as_asked(answers: int, tmp_path: Path) -> None:
    data = split(line("one", 10))
    version = keep(
        Version(id="register/1", digest="7" * 64, name="tiny", version="7", run="r", lineage_sha256="1" * 64),
        inputs={"data": {"id": data.id, "digest": data.digest}},
    )
    checked = keep(Checked(id="check/1", digest="6" * 64, verdicts=[]))
    every = scores([0.4] * 6, [2.0] * 6)
    report.fn(tmp_path, ReportConfig(answers=answers), DUTIES, checked, models(BETTER), every, version)
    said = words((tmp_path / "view" / "report.html").read_text())
    assert ("No sample answers were kept" in said) is (answers == 0)
    assert (f"what is {HOSTILE}?" in said) is (answers == 1)
