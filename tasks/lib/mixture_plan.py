"""What each training will draw of each dataset, before it is trained: rows, tokens a pass, passes, tokens."""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from tasks.lib import architecture, base_source
from tasks.lib.asked import shown
from tasks.lib.records import iterate, sample, texts

SAMPLE = 256  # rows of a part that tell how many tokens its characters make, where not all are counted
COUNTED = 4_000_000  # characters of a part up to which all rows are: some seconds
VOCABULARY = 32_768  # of a base that is not on this machine
FRAME = 16  # tokens around a question and its answer, as long as no chat template is there to tell
TRAININGS = {
    "pretrain": "corpus-train", "tune": "tune-train", "align": "preference-train", "reward": "preference-train", "distill": "corpus-train",
}  # fmt: skip
PAIRED = ("align", "reward")  # learn from pairs


@dataclass(frozen=True)
class Share:
    """One dataset's part in one training; sizes are tokens, of `align` and `reward` pairs."""

    stage: str
    dataset: str
    weight: float
    rows: int
    drawn: int
    size: int
    passes: float | None
    epochs: float | None  # how often a row of this dataset is seen, on the whole
    trained: int | None
    estimated: bool  # whether the sizes are; else every row is counted, by the base's own tokenizer


@dataclass(frozen=True)
class Rate:
    """Tokens a character of one dataset."""

    of: float
    estimated: bool


@dataclass(frozen=True)
class _Draw:
    """What is drawn of a dataset in one pass: each row `share` times."""

    name: str
    weight: float
    rows: int
    share: float
    tokens: float
    estimated: bool


Rates = Mapping[str, Mapping[str, Rate]]  # by part and dataset


def shares(
    stages: Collection[str], split: Path, sizes: Mapping[str, Mapping[str, Any]], cfg: Any, weights: Mapping[str, float], base: Path | None
) -> list[dict[str, Any]]:
    """What every training draws, from the split's sizes.

    With the base's tokenizer the tokens of all rows are counted, or of a sample where a part is very large. Without it they
    are estimated from the length of the texts. A budget in tokens says how many passes there are, and passes say how many tokens.

    Args:
        stages: the trainings of the flow; those that draw from the split as it is are told.
        split: the folder of the split's artifact.
        sizes: rows and characters by part and dataset, of the split's facts.
        cfg: the flow's configuration.
        weights: of the datasets, by name.
        base: a folder with the base's tokenizer, if there is one.
    """
    kind = base_source.architecture_of(cfg.base.source) if base is None else architecture.of(base)
    if "classify" in stages and kind == "encoder":  # whose student reads documents only
        sizes = {part: size for part, size in sizes.items() if part != "tune-train"}
    known = base is not None and (base / "tokenizer.json").is_file()
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json")) if base is not None and known else None
    frame = FRAME if tokenizer is None or base is None else _frame(base, tokenizer)
    frames = {"corpus-train": 2, "general-train": 2, "tune-train": frame}  # a document begins and ends with a token of its own
    vocabulary = getattr(cfg.base.source, "vocabulary", VOCABULARY)
    rates = {part: _rates(split, part, sizes.get(part, {}), (tokenizer, vocabulary, tokens)) for part, tokens in frames.items()}
    own = dict(rates)  # of tuning, which may leave system messages out, while a distillation sees them
    if "tune" in stages and cfg.tune.erase_system is not False:
        how = tokenizer, vocabulary, frame
        own["tune-train"] = _rates(split, "tune-train", sizes.get("tune-train", {}), how, cfg.tune.erase_system)
    each = ((stage, own if stage == "tune" else rates) for stage in TRAININGS if stage in stages)
    return [asdict(share) for stage, known in each for share in _stage(stage, sizes, cfg, weights, known)]


def _stage(stage: str, sizes: Mapping[str, Mapping[str, Any]], cfg: Any, weights: Mapping[str, float], rates: Rates) -> Iterator[Share]:
    settings = getattr(cfg, stage)
    parts = ["corpus-train", "tune-train"] if stage == "distill" else [TRAININGS[stage]]
    drawn: list[_Draw] = []
    for part in parts:
        for name, size in sizes.get(part, {}).items():
            weight = weights.get(name, 1.0)
            rate = Rate(1.0, False) if stage in PAIRED else rates[part][name]
            tokens = weight * (size["rows"] if stage in PAIRED else rate.of * size["characters"])
            uneven = not float(weight).is_integer()  # which rows are drawn once more, the trainings draw
            drawn.append(_Draw(name, weight, size["rows"], weight, tokens, rate.estimated or uneven))
    if stage not in PAIRED and settings.replay:
        drawn += _replayed(stage, sizes, settings.replay, sum(draw.tokens for draw in drawn), rates, weights)
    whole = sum(draw.tokens for draw in drawn)
    # a step is counted as so many tokens; of pairs it has one for each length
    each, steps = 1 if stage in PAIRED else settings.length, settings.trainer.get("max_steps")
    if steps is None:
        budget = settings.tokens if stage not in PAIRED or settings.tokens is None else settings.tokens / settings.length
    else:
        budget = steps * settings.batch * settings.accumulation * each
    full = steps is not None and stage not in PAIRED  # counted is as if every block were
    passes = settings.epochs if budget is None else budget / whole if whole else None
    about = budget is not None and (full or any(draw.estimated for draw in drawn))
    for draw in drawn:
        trained, epochs = (None, None) if passes is None else (round(draw.tokens * passes), draw.share * passes)
        counts = round(draw.rows * draw.share), round(draw.tokens), passes, epochs, trained
        yield Share(stage, draw.name, draw.weight, draw.rows, *counts, estimated=draw.estimated or about)


def _replayed(
    stage: str, sizes: Mapping[str, Mapping[str, Any]], replay: float, given: float, rates: Rates, weights: Mapping[str, float]
) -> Iterator[_Draw]:
    """The replayed documents: general ones, by characters; where answers are tuned on, the corpus too, by tokens.

    Which ones, the training draws: what they hold is an estimate.
    """
    parts = ["corpus-train", "general-train"] if stage == "tune" else ["general-train"]
    every = [(name, size, size["characters"] * rates[part][name].of) for part in parts for name, size in sizes.get(part, {}).items()]
    if stage == "tune":
        there = sum(tokens for *_, tokens in every)
    else:
        given = sum(weights.get(name, 1.0) * size["characters"] for name, size in sizes.get("corpus-train", {}).items())
        there = sum(size["characters"] for _, size, _ in every)
    share = min(1.0, replay / (1 - replay) * given / there) if there else 0.0
    for name, size, tokens in every:
        yield _Draw(name, 1.0, size["rows"], share, tokens * share, True)


def _frame(base: Path, tokenizer: Tokenizer) -> int:
    """Tokens that the chat template puts around one prompt and its response."""
    file = base / "chat_template.jinja"
    if not file.is_file():
        return 0
    settings = json.loads(named.read_text(encoding="utf-8")) if (named := base / "tokenizer_config.json").is_file() else {}
    said = {name: settings.get(name) or "" for name in ("bos_token", "eos_token")}
    special = {name: token["content"] if isinstance(token, dict) else token for name, token in said.items()}
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]
    template = re.sub(
        r"\{%-?\s*(end)?generation\s*-?%\}", "", file.read_text(encoding="utf-8")
    )  # a tag that marks answers, and writes nothing
    try:
        text = environment.from_string(template).render(messages=messages, **special)
    except TemplateError:  # one that needs more than these two messages: what it adds is not estimated
        return 0
    return len(tokenizer.encode(text, add_special_tokens=False).ids) - 2 * len(tokenizer.encode("x", add_special_tokens=False).ids)


def _rates(
    split: Path, part: str, sizes: Mapping[str, Any], how: tuple[Tokenizer | None, int, int], erase: bool | str = False
) -> dict[str, Rate]:
    """Tokens that are seen a character that there is, of each dataset of a part.

    `how` is the base's tokenizer, or None; the vocabulary of the one that will be made; and the tokens around each row.
    `erase` is `tune.erase_system`: what it takes away is no token, but stays in the characters, as in the split's sizes.
    """
    if not sizes:
        return {}
    tokenizer, vocabulary, frame = how
    every = tokenizer is not None and sum(size["characters"] for size in sizes.values()) <= COUNTED
    found: dict[str, list[float]] = {name: [0.0, 0.0] for name in sizes}
    for row in iterate(split, part) if every else sample(split, part, SAMPLE):
        told = texts(shown(row, erase))
        tokens = _length(told, vocabulary) if tokenizer is None else sum(map(len, tokenizer.encode_batch(told, add_special_tokens=False)))
        around = frame * (1 + len(row.get("history", [])) // 2)  # one around each question and its answer
        for place, value in enumerate((tokens + around, sum(map(len, texts(row))))):
            found[row["dataset"]][place] += value
    tokens, characters = (sum(values[place] for values in found.values()) for place in (0, 1))
    mean = tokens / characters if characters else 0.0  # of a dataset that is not in the sample
    return {name: Rate(mine[0] / mine[1] if mine[1] else mean, not every) for name, mine in found.items()}


def _length(told: list[str], vocabulary: int) -> float:
    """Tokens of texts, as byte pairs learned from general English would make.

    Small letters and spaces share tokens, more of them each time the vocabulary doubles; any other character, and any byte
    beyond ASCII, is about one token. On the starter data of the shipped domains that is between 0.8 and 1.1 times the tokens
    that there are, with vocabularies of 512 to 16,384; on Python's documentation, which the tokenizer is made from, up to 1.7 times.
    """
    shared = sum(character == " " or "a" <= character <= "z" for text in told for character in text)
    return shared / max(1.5, 2.2 + 0.5 * math.log2(vocabulary / 512)) + sum(len(text.encode()) for text in told) - shared
