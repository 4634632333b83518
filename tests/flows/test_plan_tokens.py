"""What a plan says of tokens before and after there is a base: an estimate that is marked, then a count of all rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.adapt import AdaptConfig
from tasks.clean import CleanConfig, clean
from tasks.lib import mixture_plan, models
from tasks.lib.config import build
from tasks.lib.records import iterate, texts
from tasks.split import Split, SplitConfig, split
from tests.conftest import WORDS, Run
from tests.datasets import ingested, resolved


@pytest.fixture
def data(workplace: Path) -> Split:
    """Two corpora whose words are of different lengths, and questions."""
    short = [{"text": f"{i} " + "a b c d e " * 8} for i in range(40)]
    long = [{"text": f"{i} " + " ".join(WORDS)} for i in range(40)]
    asked = [{"q": f"What is {i}?", "a": " ".join(WORDS[: i % 7 + 1])} for i in range(40)]
    given = [resolved(workplace, "short", "corpus", short), resolved(workplace, "long", "corpus", long)]
    return split(SplitConfig(), clean(CleanConfig(), ingested(*given, resolved(workplace, "asked", "tune", asked))))


def told(data: Split, base: Path | None, weights: dict[str, float], **settings: Any) -> dict[str, dict[str, Any]]:
    cfg = build(AdaptConfig, {"pretrain": {"replay": 0.0, "epochs": 2, **settings}, "tune": {"replay": 0.0}}, "settings")
    sizes = {part: {name: size.model_dump() for name, size in found.items()} for part, found in data.sizes.items()}
    shares = mixture_plan.shares(["pretrain", "tune"], data.path, sizes, cfg, weights, base)
    return {share["dataset"]: share for share in shares}


@pytest.fixture
def base(workplace: Path) -> Path:
    folder = workplace / "base"
    models.train_tokenizer([" ".join(WORDS)] * 20, 400).save_pretrained(folder)
    return folder


def test_an_encoder_that_gets_a_head_draws_documents_alone(data: Split) -> None:
    encoder = {"source": {"kind": "scratch", "architecture": "encoder"}}
    sizes = {part: {name: size.model_dump() for name, size in found.items()} for part, found in data.sizes.items()}
    cfg = build(AdaptConfig, {"base": encoder}, "settings")
    shares = mixture_plan.shares(["pretrain", "distill", "classify"], data.path, sizes, cfg, {}, None)
    assert {share["dataset"] for share in shares} == {"short", "long"}


def test_a_number_of_steps_is_a_budget(data: Split, base: Path) -> None:
    steps = told(data, base, {}, batch=2, accumulation=2, length=64, trainer={"max_steps": 3})
    assert sum(steps[name]["trained"] for name in ("short", "long")) == pytest.approx(3 * 2 * 2 * 64, abs=1)
    assert all(steps[name]["estimated"] for name in ("short", "long")), "blocks may have room left"
    sizes = {"preference-train": {"liked": {"rows": 500, "characters": 9}}}
    cfg = build(AdaptConfig, {"align": {"batch": 4, "trainer": {"max_steps": 5}}}, "settings")
    (share,) = mixture_plan.shares(["align"], data.path, sizes, cfg, {}, base)
    assert (share["trained"], share["epochs"], share["estimated"]) == (20, 0.04, False)


def test_every_row_is_counted_once_there_is_a_tokenizer(data: Split, base: Path) -> None:
    tokenizer = models.load_tokenizer(base)
    real = {
        name: sum(
            2 + len(tokenizer.encode(text, add_special_tokens=False))
            for row in iterate(data.path, "corpus-train")
            if row["dataset"] == name
            for text in texts(row)
        )
        for name in ("short", "long")
    }
    found = told(data, base, {"long": 3.0})
    assert {name: found[name]["size"] for name in real} == {"short": real["short"], "long": 3 * real["long"]}
    assert {name: found[name]["epochs"] for name in real} == {"short": 2.0, "long": 6.0}
    assert not any(share["estimated"] for share in found.values())
    assert told(data, base, {"long": 1.5})["long"]["estimated"]


def test_before_that_tokens_are_estimated_and_said_to_be(data: Split, base: Path, workplace: Path) -> None:
    counted = told(data, base, {})
    for nothing in (None, workplace):
        found = told(data, nothing, {})
        assert all(share["estimated"] for share in found.values())
        for name, share in found.items():
            assert counted[name]["size"] / 3 < share["size"] < 3 * counted[name]["size"]
            assert share["epochs"] == counted[name]["epochs"]
    budget = told(data, None, {}, tokens=1_000)
    assert sum(budget[name]["trained"] for name in ("short", "long")) == pytest.approx(1_000, abs=2)


def test_a_large_part_is_sampled_and_said_to_be(data: Split, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = told(data, base, {})["long"]["size"]
    monkeypatch.setattr(mixture_plan, "COUNTED", 10)
    share = told(data, base, {})["long"]
    assert share["estimated"]
    assert share["size"] == pytest.approx(every, rel=0.1)


def test_the_plan_marks_an_estimate(toy: Path, cli: Run) -> None:
    assert cli("check", "toy").returncode == 0
    shares = json.loads(cli("plan", "toy", "--json").stdout)["draws"]
    assert all(share["estimated"] == (share["stage"] != "align") for share in shares)
    assert all(share["size"] > 0 and share["epochs"] > 0 for share in shares)
    documents = next(share for share in shares if (share["stage"], share["dataset"]) == ("pretrain", "documents"))
    assert f"~{documents['size']:,}" in cli("plan", "toy").stdout


def test_of_a_system_message_that_tuning_erases_nothing_is_counted(workplace: Path, base: Path) -> None:
    """While a distillation, which learns from the same rows, sees it."""
    message, instead = " ".join(WORDS[:8]), WORDS[0]
    asked = [{"q": f"What is {i}?", "a": "alpha", "s": message if i % 4 else ""} for i in range(40)]
    card = {"map": {"prompt": "{q}", "response": "{a}", "system": "{s}"}}
    data = split(SplitConfig(), ingested(resolved(workplace, "asked", "tune", asked, **card)))
    tokenizer = models.load_tokenizer(base)
    rows = [row for row in iterate(data.path, "tune-train") if row.get("system")]
    sizes = {part: {name: size.model_dump() for name, size in found.items()} for part, found in data.sizes.items()}
    found: dict[tuple[str, Any], int] = {}
    for erase in (False, True, instead):
        cfg = build(AdaptConfig, {"tune": {"replay": 0.0, "erase_system": erase}, "distill": {"replay": 0.0}}, "settings")
        for share in mixture_plan.shares(["tune", "distill"], data.path, sizes, cfg, {}, base):
            found[share["stage"], erase] = share["size"]
    length = {text: len(tokenizer.encode(text, add_special_tokens=False)) for text in (message, instead)}
    assert found["tune", False] - found["tune", True] == len(rows) * length[message]
    assert found["tune", instead] - found["tune", True] == len(rows) * length[instead]
    assert found["distill", False] == found["distill", True] == found["distill", instead] == found["tune", False]
