"""Settings: which one wins, and which are refused."""

import copy
import time
from pathlib import Path
from typing import Any

import pytest

from flows.adapt import AdaptConfig, adapt
from tasks.lib import config
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Order
from tasks.lib.training_config import TrainingConfig
from tasks.tune import TuneConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def test_there_are_configs() -> None:
    assert CONFIGS


def leaves(value: Any, way: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [way]
    return [leaf for key, inner in value.items() for leaf in leaves(inner, (*way, key))]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_every_key_of_a_shipped_config_is_known_and_says_something(file: Path) -> None:
    written = config.read_yaml(file)
    whole = config.build(AdaptConfig, written, str(file)).model_dump()
    idle = []
    for *way, last in leaves(written):
        without = copy.deepcopy(written)
        place = without
        for step in way:
            place = place[step]
        del place[last]
        try:
            made = config.build(AdaptConfig, without, str(file)).model_dump()
        except ConfigError:
            continue  # it cannot be left out
        idle += [".".join([*way, last])] if made == whole else []
    # a recipe says what its paper says, whatever would hold without it
    assert not idle or "recipes" in file.parts, f"{file.name} says what holds without it"


def test_the_command_line_wins_over_the_file_over_the_card_over_the_class(toy: Path, workplace: Path) -> None:
    (workplace / "mine.yaml").write_text("tune: {epochs: 3, batch: 3}\n")
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("tune: {length: 128, epochs: 1}", "tune: {length: 128, epochs: 2, batch: 2, accumulation: 2}"))
    cfg = adapt.job(Order("toy", "mine.yaml", ("tune.epochs=4",))).cfg.tune
    assert (cfg.epochs, cfg.batch, cfg.accumulation, cfg.length) == (4, 3, 2, 128)
    assert cfg.seed == TuneConfig().seed
    assert adapt.job(Order("toy")).cfg.tune.epochs == 2


def test_another_kind_replaces_what_belongs_to_the_old_one() -> None:
    scratch = {"base": {"source": {"kind": "scratch", "layers": 4}}, "tune": {"epochs": 1}}
    folder = {"base": {"source": {"kind": "folder", "path": "x"}}}
    assert config.merge(scratch, folder) == {**folder, "tune": {"epochs": 1}}
    assert config.merge(scratch, {"base": {"source": {"layers": 2}}})["base"]["source"] == {"kind": "scratch", "layers": 2}
    assert scratch["base"] == {"source": {"kind": "scratch", "layers": 4}}


def test_values_of_the_command_line_are_read_as_yaml() -> None:
    words = ["a.b=1", "a.c=[x, 2.5]", "d=", "e.f=null", "a.g=yes"]
    assert config.parse_overrides(words) == {"a": {"b": 1, "c": ["x", 2.5], "g": "yes"}, "d": "", "e": {"f": None}}


@pytest.mark.parametrize("word", ["a", "=1", ".a=1", "a..b=1", "a={", "a={b: 1, b: 2}", "a=[&x 1, *x]", "a=\x01"])
def test_a_setting_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(ConfigError):
        config.parse_overrides([word])


@pytest.mark.parametrize(
    "content",
    [b"a: 1\na: 2\n", b"a: &x 1\nb: *x\n", b"a: !!python/name:os.system x\n", b"a: \xff\n", b"a: \x00\n", b"a: 1\n---\nb: 2\n", b"a: [1\n",
     b"a: " + b"[" * 5_000 + b"]" * 5_000, b"#" * 1_000_001],
)  # fmt: skip
def test_yaml_that_is_not_plain_is_refused_by_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.yaml"):
        config.read_yaml(tmp_path / "a.yaml")


def test_fields_that_change_how_but_never_what_are_no_identity() -> None:
    one, other = TuneConfig(), TuneConfig(workers=3, device="cpu")
    assert one.identity() == other.identity()
    assert "workers" not in one.identity()
    assert TuneConfig(seed=1).identity() != one.identity()


def test_yaml_that_is_nested_deep_is_refused_at_once(tmp_path: Path) -> None:
    contents = [word * (20_000 // len(word)) for word in ("[", "{", "- ", "? ", "[\n", "{a: ", "[? ", "- - [")]
    contents += ["[" * config.MAX_YAML_BYTES, "".join(" " * level + "a:\n" for level in range(1_400))]
    for content in contents:
        (tmp_path / "a.yaml").write_text(content)
        began = time.process_time()
        # a dash inside of brackets is no YAML in the first place
        with pytest.raises(ConfigError, match=r"nested more than 100 deep|expected the node content"):
            config.read_yaml(tmp_path / "a.yaml")
        assert time.process_time() - began < 5, "it took minutes, and grew with the square of the depth"
    with pytest.raises(ConfigError, match="nested more than 100 deep"):
        config.parse_overrides([f"a={contents[0]}"])
    deepest = "[" * config.MAX_YAML_DEPTH + "]" * config.MAX_YAML_DEPTH
    (tmp_path / "a.yaml").write_text(deepest)
    assert str(config.read_yaml(tmp_path / "a.yaml")) == deepest


def test_a_training_of_one_step_has_no_warm_up() -> None:
    """The library's rate is zero at the first step of a warm-up: where that is the only step, nothing would be learned."""
    assert [TrainingConfig(warmup=0.05).scheduler(steps)["warmup_steps"] for steps in (1, 2, 40)] == [0, 1, 2]
