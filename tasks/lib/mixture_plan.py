"""What each training will draw of each dataset, before it is trained: rows, tokens a pass, passes, tokens."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from tasks.lib import architecture
from tasks.lib.records import sample, texts

SAMPLE = 64  # rows of a part that tell how many tokens its characters make
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
    size: int | None
    passes: float | None
    trained: int | None


def shares(
    stages: Collection[str], split: Path, sizes: Mapping[str, Mapping[str, Any]], cfg: Any, weights: Mapping[str, float], base: Path | None
) -> list[dict[str, Any]]:
    """What every training draws, from the split's sizes.

    Tokens are estimated: those of a sample of rows, by the base's own tokenizer, and the characters of all. Without the
    base they are not known. A budget in tokens says how many passes there are, and passes say how many tokens.

    Args:
        stages: the trainings of the flow; those that draw from the split as it is are told.
        split: the folder of the split's artifact.
        sizes: rows and characters by part and dataset, of the split's facts.
        cfg: the flow's configuration.
        weights: of the datasets, by name.
        base: the folder of the base's artifact, if it is made.
    """
    if "classify" in stages and base is not None and architecture.of(base) == "encoder":  # whose student reads documents only
        sizes = {part: size for part, size in sizes.items() if part != "tune-train"}
    tokenizer = None if base is None else Tokenizer.from_file(str(base / "tokenizer.json"))
    frame = 0 if tokenizer is None or base is None else _frame(base, tokenizer)
    frames = {"corpus-train": 2, "general-train": 2, "tune-train": frame}  # a document begins and ends with a token of its own
    rates = {part: _rate(split, part, tokenizer, tokens) for part, tokens in frames.items()}
    return [asdict(share) for stage in TRAININGS if stage in stages for share in _stage(stage, sizes, cfg, weights, rates)]


def _stage(
    stage: str, sizes: Mapping[str, Mapping[str, Any]], cfg: Any, weights: Mapping[str, float], rates: Mapping[str, float | None]
) -> Iterator[Share]:
    settings = getattr(cfg, stage)
    parts = ["corpus-train", "tune-train"] if stage == "distill" else [TRAININGS[stage]]
    drawn: list[tuple[str, str, float, int, int, float | None]] = []
    for part in parts:
        for name, size in sizes.get(part, {}).items():
            rate, weight = rates.get(part), weights.get(name, 1.0)
            tokens = weight * size["rows"] if stage in PAIRED else None if rate is None else weight * rate * size["characters"]
            drawn.append((part, name, weight, size["rows"], round(weight * size["rows"]), tokens))
    known = [tokens for *_, tokens in drawn if tokens is not None]
    if stage not in PAIRED and settings.replay:
        drawn += _replayed(stage, sizes, settings.replay, drawn, rates, weights)
    whole = sum(tokens for *_, tokens in drawn if tokens is not None)
    # a step is counted as so many tokens; of pairs it has one for each length
    budget = settings.tokens if stage not in PAIRED or settings.tokens is None else settings.tokens / settings.length
    passes = settings.epochs if budget is None else budget / whole if whole and known else None
    for _, name, weight, rows, draws, tokens in drawn:
        trained = None if tokens is None or passes is None else round(tokens * passes)
        yield Share(stage, name, weight, rows, draws, None if tokens is None else round(tokens), passes, trained)


def _replayed(
    stage: str,
    sizes: Mapping[str, Mapping[str, Any]],
    replay: float,
    drawn: list[Any],
    rates: Mapping[str, float | None],
    weights: Mapping[str, float],
) -> Iterator[tuple[str, str, float, int, int, float | None]]:
    """The replayed documents: general ones, by characters; where answers are tuned on, the corpus too, by tokens."""
    parts = ["corpus-train", "general-train"] if stage == "tune" else ["general-train"]
    if any(rates[part] is None for part in parts):
        return
    if stage == "tune":
        given = sum(tokens for *_, tokens in drawn)
        there = sum(size["characters"] * (rates[part] or 0) for part in parts for size in sizes.get(part, {}).values())
    else:
        given = sum(weights.get(name, 1.0) * size["characters"] for name, size in sizes.get("corpus-train", {}).items())
        there = sum(size["characters"] for size in sizes.get("general-train", {}).values())
    share = min(1.0, replay / (1 - replay) * given / there) if there else 0.0
    for part in parts:
        for name, size in sizes.get(part, {}).items():
            yield part, name, 1.0, size["rows"], round(size["rows"] * share), size["characters"] * (rates[part] or 0) * share


def _frame(base: Path, tokenizer: Tokenizer) -> int:
    """Tokens that the chat template puts around one prompt and its response."""
    file = base / "chat_template.jinja"
    if not file.is_file():
        return 0
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]
    template = re.sub(
        r"\{%-?\s*(end)?generation\s*-?%\}", "", file.read_text(encoding="utf-8")
    )  # a tag that marks answers, and writes nothing
    try:
        text = environment.from_string(template).render(messages=messages, bos_token="", eos_token="")
    except TemplateError:  # one that needs more than these two messages: what it adds is not estimated
        return 0
    return len(tokenizer.encode(text, add_special_tokens=False).ids) - 2 * len(tokenizer.encode("x", add_special_tokens=False).ids)


def _rate(split: Path, part: str, tokenizer: Tokenizer | None, frame: int) -> float | None:
    """Tokens a character, of a sample, with `frame` tokens around each row."""
    if tokenizer is None:
        return None
    rows = sample(split, part, SAMPLE)
    told = ["\n".join(texts(row)) for row in rows]
    frames = sum(frame * (1 + len(row.get("history", [])) // 2) for row in rows)  # one around each question and its answer
    characters = sum(map(len, told))
    tokens = frames + sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in told)
    return tokens / characters if characters else 0.0
