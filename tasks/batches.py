"""What each training will see, token by token, and what is cut from its data: made as the stages make it; nothing is trained."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, groupby, takewhile
from pathlib import Path
from typing import Any

from tasks.classify import choices, labelled
from tasks.lib.mixing import Drawn, Draws, pairs_by_source, tokens_by_source
from tasks.lib.records import iterate
from tasks.pretrain import mixture
from tasks.split import Split
from tasks.tune import pieces

HIDDEN = ("Cc", "Cf", "Cs", "Co")  # kinds of characters that a terminal obeys, or does not show


@dataclass(frozen=True)
class Span:
    """Neighbouring tokens of one kind, as text."""

    text: str
    learned: bool
    special: bool
    begins: bool  # a document


@dataclass(frozen=True)
class Sequence:
    """Tokens that a model reads at once; `mask` has 1 where the loss sees the token, `documents` where each begins."""

    name: str  # block | chosen | rejected | prompt | text
    ids: list[int]
    tokens: list[str]
    mask: list[int]
    documents: list[int]
    spans: list[Span] = field(repr=False)
    label: str = ""  # what is learned of a whole text


@dataclass(frozen=True)
class Shown:
    """The first examples of one training, and what became of the rows of each dataset.

    `counts` are those of the stage's own record, but for what only a training tells; `tally` adds up all datasets.
    """

    stage: str
    length: int
    examples: list[list[Sequence]]
    of: int  # how many examples there are
    counts: dict[str, Drawn]
    tally: dict[str, int]
    note: str = ""


def shown(stage: str, job: Any, model: tuple[Path, bool], data: Split, count: int) -> Shown:
    """The first `count` examples of a stage, and what is cut from all its rows.

    Args:
        stage: one of `STAGES`.
        job: of the flow.
        model: the folder of a model with the tokenizer that the training will use, and whether that is still without the
            words that `pretrain.new_tokens` adds.
        data: the split.
        count: blocks, pairs or prompts.
    """
    made: Shown = STAGES[stage](stage, job, model, data, count)
    return made


def _loaded(job: Any, model: tuple[Path, bool], data: Split) -> tuple[Any, Any]:
    """The network, whose kind says how documents are kept apart, and the tokenizer."""
    from tasks.lib import models, vocabulary

    folder, plain = model
    network, tokenizer = models.load(folder), models.load_tokenizer(folder)
    asked = job.cfg.pretrain.new_tokens
    if plain and asked:
        texts, held_out = ([row["text"] for row in iterate(data.path, f"corpus-{part}")] for part in ("train", "valid"))
        vocabulary.extend(network, tokenizer, asked, texts, held_out or texts)
    return network, tokenizer


def _tokenizer(job: Any, model: tuple[Path, bool], data: Split) -> Any:
    """The tokenizer alone, where that needs no network."""
    from tasks.lib import models

    folder, plain = model
    return _loaded(job, model, data)[1] if plain and job.cfg.pretrain.new_tokens else models.load_tokenizer(folder)


def _pretrain(stage: str, job: Any, model: tuple[Path, bool], data: Split, count: int) -> Shown:
    from tasks.lib import objectives

    cfg, draws = job.cfg.pretrain, Draws(job.weights("corpus"))
    objective = objectives.choose(*_loaded(job, model, data), cfg.length, cfg.mask)
    listed = list(mixture(data, cfg.replay, cfg.seed, draws).pieces(objective.encoder))
    return _blocks(stage, cfg, objective, listed, draws, count)


def _tune(stage: str, job: Any, model: tuple[Path, bool], data: Split, count: int) -> Shown:
    from tasks.lib import objectives

    cfg, draws = job.cfg.tune, Draws(job.weights("tune"))
    objective = objectives.choose(*_loaded(job, model, data), cfg.length)
    exchanges, replayed, _ = pieces(objective.encoder, data, cfg, draws, cfg.replay)
    return _blocks(stage, cfg, objective, [*exchanges, *replayed.pieces], draws, count)


def _blocks(stage: str, cfg: Any, objective: Any, listed: list[Any], draws: Draws, count: int) -> Shown:
    """The first blocks, as the trainer's collator hands them over."""
    from tasks.lib.packing import IGNORED

    encoder, blocks = objective.encoder, objective.blocks(listed, cfg.seed)
    rows = [blocks[place] for place in range(min(count, len(blocks)))]
    batch = objective.collate(cfg.seed)(rows) if rows else {}
    examples = []
    for place, row in enumerate(rows):
        ids, labels = (batch[key][place, : len(row["input_ids"])].tolist() for key in ("input_ids", "labels"))
        starts = [0, *list(accumulate(row["seq_lengths"]))[:-1]]
        examples.append([_sequence("block", objective.tokenizer, ids, [int(label != IGNORED) for label in labels], starts)])
    sizes, _ = tokens_by_source(blocks, encoder.sources, {})
    return Shown(stage, cfg.length, examples, len(blocks), draws.facts(sizes, {}, encoder.lost), encoder.tally.facts())


def _pairs(stage: str, job: Any, model: tuple[Path, bool], data: Split, count: int) -> Shown:
    """The first pairs; a reward model gives each side one score, and learns no token."""
    from tasks.lib import preferences
    from tasks.lib.packing import Encoder, chat_ids

    cfg, draws = getattr(job.cfg, stage), Draws(job.weights("preference"))
    tokenizer = _tokenizer(job, model, data)
    encoder = Encoder(tokenizer, cfg.length)
    made, sources = preferences.pairs(encoder, draws.of(iterate(data.path, "preference-train")))
    examples = []
    for pair in made[:count]:
        prompt = chat_ids(tokenizer, pair["prompt"], generation=True)
        sides = {side: chat_ids(tokenizer, pair["prompt"] + pair[side], generation=False) for side in ("chosen", "rejected")}
        shared = {side: _shared(prompt, ids) for side, ids in sides.items()}
        if stage == "align" and cfg.method.kind == "dpo":  # whose prompt is the same for both
            shared = dict.fromkeys(sides, min(shared.values()))
        masks = {side: [int(stage == "align" and place >= shared[side]) for place in range(len(ids))] for side, ids in sides.items()}
        examples.append([_sequence(side, tokenizer, ids, masks[side], [0]) for side, ids in sides.items()])
    note = "" if stage == "align" else "no token is learned: the two scores are, one for each whole text"
    counts = draws.facts(*pairs_by_source(sources, {}), encoder.lost)
    return Shown(stage, cfg.length, examples, len(made), counts, encoder.tally.facts(), note)


def _shared(one: list[int], other: list[int]) -> int:
    """How many tokens two sequences begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _prompts(stage: str, job: Any, model: tuple[Path, bool], data: Split, count: int) -> Shown:
    """The first prompts, to which the model will give its own answers."""
    from tasks.lib import reinforcement
    from tasks.lib.packing import Encoder, chat_ids

    cfg, draws = job.cfg.reinforce, Draws(job.weights("tune"))
    trained = job.rewards.chosen(cfg.rewards)
    tokenizer = _tokenizer(job, model, data)
    encoder = Encoder(tokenizer, cfg.length)
    rows = (row for row in iterate(data.path, "tune-train") if any(reward.applies(row) for reward in trained))
    asked = reinforcement.questions(encoder, draws.of(rows), trained, cfg.answer)
    ids = [chat_ids(tokenizer, chat, generation=True) for chat in asked.chats[:count]]
    examples = [[_sequence("prompt", tokenizer, one, [0] * len(one), [0])] for one in ids]
    note = f"the model itself answers, with {cfg.answer} tokens at most, and learns from the rewards of its answers"
    counts = draws.facts(*pairs_by_source([row["dataset"] for row in asked.rows], {}), encoder.lost)
    return Shown(stage, cfg.length, examples, len(asked.rows), counts, encoder.tally.facts(), note)


def _texts(stage: str, job: Any, model: tuple[Path, bool], data: Split, count: int) -> Shown:
    """The first texts of a classifier, each with the label that is learned of it."""
    from tasks.lib import heads

    cfg, draws = job.cfg.classify, Draws(job.weights("tune"))
    labels = choices(data, cfg.dataset)
    network, tokenizer = _loaded(job, model, data)
    encoder = heads.TextEncoder(tokenizer, heads.text_length(network, cfg.length))
    made = encoder.labelled(draws.of(labelled(data, "tune-train", labels, cfg.dataset)), labels)
    examples = []
    for row in made.select(range(min(count, len(made)))):
        ids = row["input_ids"]
        examples.append([_sequence("text", tokenizer, ids, [0] * len(ids), [0], labels[row["labels"]])])
    sizes, _ = tokens_by_source(made, encoder.sources, {})
    note = f"no token is learned: which of {len(labels)} labels a whole text has is"
    return Shown(stage, encoder.length, examples, len(made), draws.facts(sizes, {}, encoder.lost), encoder.tally.facts(), note)


# the trainings that can be shown, in the order of the flows
STAGES: dict[str, Any] = {
    "pretrain": _pretrain, "tune": _tune, "align": _pairs, "reward": _pairs, "reinforce": _prompts, "classify": _texts,
}  # fmt: skip


def _sequence(name: str, tokenizer: Any, ids: list[int], mask: list[int], starts: list[int], label: str = "") -> Sequence:
    special = {*tokenizer.all_special_ids, *(number for number, token in tokenizer.added_tokens_decoder.items() if token.special)}
    spans = [
        Span(disarmed(_text(tokenizer, ids, start, begin, end)), learned, token, begin == start)
        for start, stop in zip(starts, [*starts[1:], len(ids)], strict=True)
        for begin, end, learned, token in _runs(ids, mask, special, start, stop)
    ]
    tokens: list[str] = tokenizer.convert_ids_to_tokens(ids)
    return Sequence(name, ids, tokens, mask, starts, spans, label)


def _runs(ids: list[int], mask: list[int], special: set[int], start: int, stop: int) -> Iterator[tuple[int, int, bool, bool]]:
    """Where neighbouring tokens of one kind begin and end, whether they are learned, and whether special."""
    for (learned, token), found in groupby(range(start, stop), key=lambda place: (bool(mask[place]), ids[place] in special)):
        places = list(found)
        yield places[0], places[-1] + 1, learned, token


def _text(tokenizer: Any, ids: list[int], start: int, begin: int, end: int) -> str:
    """Tokens as text, as they stand behind those before them: alone, some tokenizers would drop a space."""
    before, whole = (str(tokenizer.decode(ids[start:stop], clean_up_tokenization_spaces=False)) for stop in (begin, end))
    return whole[len(before) :] if whole.startswith(before) else str(tokenizer.decode(ids[begin:end]))


def disarmed(text: str) -> str:
    r"""Text without what a terminal would obey: such characters as \u001b; line ends and tabs stay."""
    return "".join(f"\\u{ord(sign):04x}" if unicodedata.category(sign) in HIDDEN and sign not in "\n\t" else sign for sign in text)
