"""Rows become token blocks of one length, documents isolated from each other, every lost token counted."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import pack_dataset

from tasks.lib.records import Row

IGNORED = -100  # a label that no loss sees


@dataclass
class Tally:
    """What became of rows and tokens on the way into blocks; how many of them were trained on, `training.fit` tells.

    `tokens` are those in blocks (of pairs: in both answers with their prompt); one that ends a piece and begins the next as
    context counts twice. `tokens_given` = tokens + truncated + left out + cut from what is replayed (`replay_cut`). A row
    is `rows_too_long` where nothing of it is left, and `rows_part_too_long` where some answers of a conversation are.
    """

    rows: int = 0
    tokens_given: int = 0
    tokens: int = 0
    blocks: int = 0
    rows_truncated: int = 0
    tokens_truncated: int = 0
    rows_too_long: int = 0
    rows_part_too_long: int = 0
    tokens_left_out: int = 0
    replay_cut: int = 0
    control_tokens_neutralised: int = 0

    def facts(self) -> dict[str, int]:
        """As a mapping."""
        return asdict(self)


@dataclass
class Lost:
    """What one dataset lost on the way into blocks."""

    too_long: int = 0
    part_too_long: int = 0
    truncated: int = 0
    tokens_truncated: int = 0
    tokens_left_out: int = 0
    replay_cut: int = 0


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Texts that the tokenizer turns into one token that means something to it, longest first.

    Special tokens need no name: Llama 3's `<|start_header_id|>` is in no list but that of the added ones. Added tokens
    that are not special, such as Qwen's `<tool_call>`, count where the chat template writes them.
    """
    template = str(tokenizer.chat_template or "")
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special or str(token) in template}
    found = {*map(str, tokenizer.all_special_tokens), *added}
    return sorted((token for token in found if token.strip()), key=lambda token: (-len(token), token))


def broken_up(text: str, controls: Sequence[str]) -> tuple[str, int]:
    """`text` with a space inside each of its control tokens, which makes them plain text, and how many there were."""
    count = 0
    for token in controls:
        if token in text:
            count += text.count(token)
            text = text.replace(token, f"{token[:1]} {token[1:]}")
    return text, count


def frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """What a tokenizer puts before and behind a text of its own accord, such as BERT's [CLS] and [SEP]; a decoder's is often nothing."""
    whole, inner = tokenizer.encode("x"), tokenizer.encode("x", add_special_tokens=False)
    start = next(place for place in range(len(whole)) if whole[place : place + len(inner)] == inner)
    return whole[:start], whole[start + len(inner) :]


class Encoder:
    """Turns rows into token ids; control tokens in a row's own text stay text.

    A piece has `input_ids`, `labels` and, for each token, the number of the row it comes from (`rows`).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        self.tokenizer, self.length, self.tally = tokenizer, length, Tally()
        self.sources: list[str] = []  # the dataset of each row, in the order of their numbers
        self.lost: dict[str, Lost] = defaultdict(Lost)  # by dataset
        self._controls = control_tokens(tokenizer)

    def harmless(self, text: str) -> str:
        """`text` with every control token broken up (and counted), so that data cannot open a turn of its own."""
        text, count = broken_up(text, self._controls)
        self.tally.control_tokens_neutralised += count
        return text

    def document(self, text: str, source: str = "") -> list[dict[str, Any]]:
        """A document, begun and ended, as pieces of at most `length` tokens.

        A piece begins with the last token of the one before, as context: so each token but the document's first, which
        nothing precedes, is a label exactly once.
        """
        ids = self.tokenizer.encode(self.harmless(text), add_special_tokens=False)
        begin = self.tokenizer.bos_token_id
        ids = [*([] if begin is None else [begin]), *ids, self.tokenizer.eos_token_id]
        self.tally.rows += 1
        self.sources.append(source)
        pieces = [ids[i : i + self.length] for i in range(0, max(1, len(ids) - 1), self.length - 1)]
        self.tally.tokens_given += len(ids) + len(pieces) - 1
        return [self._piece(piece, [IGNORED, *piece[1:]]) for piece in pieces]

    def _piece(self, ids: list[int], labels: list[int]) -> dict[str, Any]:
        return {"input_ids": ids, "labels": labels, "rows": [self.tally.rows] * len(ids)}

    def cut(self, tokens: int, source: str) -> None:
        """Count tokens of a document that is replayed up to its share, beyond which they lie."""
        self.tally.replay_cut += tokens
        self.lost[source].replay_cut += tokens

    def rest(self, text: str, source: str) -> None:
        """Count the rest of a document, of which the beginning is replayed."""
        tokens = len(self.tokenizer.encode(text, add_special_tokens=False))
        self.tally.tokens_given += tokens
        self.cut(tokens, source)

    def leave_out(self, tokens: int, source: str, *, whole: bool = True) -> None:
        """Count a row that does not fit, all of it or some of its answers."""
        lost = self.lost[source]
        self.tally.rows_too_long, lost.too_long = self.tally.rows_too_long + whole, lost.too_long + whole
        self.tally.rows_part_too_long, lost.part_too_long = self.tally.rows_part_too_long + (not whole), lost.part_too_long + (not whole)
        self.tally.tokens_left_out, lost.tokens_left_out = self.tally.tokens_left_out + tokens, lost.tokens_left_out + tokens

    def messages(self, row: Row, answer: str | None = None) -> list[dict[str, str]]:
        """A row as chat messages; `answer` overrides the response."""
        system = [{"role": "system", "content": self.harmless(row["system"])}] if row.get("system") else []
        turns = [{**turn, "content": self.harmless(turn["content"])} for turn in row.get("history") or []]
        user = {"role": "user", "content": self.harmless(row["prompt"])}
        text = row["response"] if answer is None else answer
        return [*system, *turns, user, {"role": "assistant", "content": self.harmless(text)}]

    def exchange(self, row: Row) -> list[dict[str, Any]]:
        """A prompt and its response, or a conversation; the loss sees the assistant's turns only, each of them once.

        A conversation is one piece where it fits and the chat template writes a turn the same way whatever follows it;
        else each answer is a piece with the turns before it. Turns before an answer that do not fit lose their beginning;
        an answer that does not fit is left out, with the turns before it. Rows in which that happens are counted, once each.
        """
        messages = self.messages(row)
        self.tally.rows += 1
        self.sources.append(row.get("dataset", ""))
        turns = [self._turn(messages[: place + 1]) for place, said in enumerate(messages) if said["role"] == "assistant"]
        joined = self._joined(turns) if len(turns) > 1 else None
        if joined is not None:
            self.tally.tokens_given += len(joined["input_ids"])
            return [joined]
        self.tally.tokens_given += sum(len(prompt) + len(response) for prompt, response in turns)
        return self._fitted(turns)

    def _turn(self, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
        """Token ids of what is before an answer, and of the answer.

        An answer begins with the first token that its prompt alone would not have: one may reach over the border between them.
        """
        prompt = chat_ids(self.tokenizer, messages[:-1], generation=True)
        whole = chat_ids(self.tokenizer, messages, generation=False)
        border = len(prompt)
        while whole[:border] != prompt[:border]:
            border -= 1
        return whole[:border], whole[border:]

    def _joined(self, turns: list[tuple[list[int], list[int]]]) -> dict[str, Any] | None:
        """A conversation as one piece; None where it does not fit, or an answer does not stand in it as it would alone."""
        whole = [*turns[-1][0], *turns[-1][1]]
        labels = [IGNORED] * len(whole)
        for prompt, response in turns:
            end = len(prompt) + len(response)
            if whole[:end] != [*prompt, *response]:
                return None
            labels[len(prompt) : end] = response
        return self._piece(whole, labels) if len(whole) <= self.length else None

    def _fitted(self, turns: list[tuple[list[int], list[int]]]) -> list[dict[str, Any]]:
        """A piece for each answer that fits."""
        lost = self.lost[self.sources[-1]]
        pieces, cuts, left_out = [], [], 0
        for prompt, response in turns:
            if len(response) >= self.length:
                left_out += len(prompt) + len(response)
                continue
            over = max(0, len(prompt) + len(response) - self.length)
            if over:
                cuts.append(over)
            kept = prompt[over:]
            pieces.append(self._piece([*kept, *response], [*([IGNORED] * len(kept)), *response]))
        if len(pieces) < len(turns):
            self.leave_out(left_out, self.sources[-1], whole=not pieces)
        if cuts:
            self.tally.rows_truncated += 1
            self.tally.tokens_truncated += sum(cuts)
            lost.truncated += 1
            lost.tokens_truncated += sum(cuts)
        return pieces

    def pack(self, pieces: Iterable[dict[str, Any]], seed: int, *, together: bool = True) -> Dataset:
        """Blocks in a fixed, seeded order: columns input_ids, labels and rows (one value a token), seq_lengths (one a piece).

        Where the model cannot keep pieces apart (`together=False`) each is a block of its own.
        """
        listed = list(pieces)
        if not listed:
            return Dataset.from_dict({"input_ids": [], "labels": [], "rows": [], "seq_lengths": []})
        made = Dataset.from_list(listed)
        if together:
            packed = pack_dataset(made, self.length, "bfd")
        else:
            packed = made.add_column("seq_lengths", [[len(piece["input_ids"])] for piece in listed])
        order = list(range(len(packed)))
        random.Random(seed).shuffle(order)
        packed = packed.select(order)
        self.tally.blocks = len(packed)
        self.tally.tokens = sum(map(len, packed["input_ids"]))
        return packed


def chat_ids(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], *, generation: bool) -> list[int]:
    """Token ids of a chat."""
    ids: list[int] = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=generation, return_dict=False)
    return ids


@dataclass
class BlockCollator:
    """Blocks of a batch side by side, each document seeing itself only.

    Returns `input_ids`, `labels`, `position_ids` [batch, length] and `attention_mask`
    [batch, 1, length, length], True where a token may look.
    """

    pad: int
    length: int

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate blocks, of which input_ids, labels and seq_lengths are read."""
        size = (len(rows), self.length)
        ids = torch.full(size, self.pad)
        labels = torch.full(size, IGNORED)
        positions = torch.zeros(size, dtype=torch.long)
        document = torch.full(size, -1)
        for i, row in enumerate(rows):
            n = len(row["input_ids"])
            ids[i, :n] = torch.tensor(row["input_ids"])
            labels[i, :n] = torch.tensor(row["labels"])
            start = 0
            for number, length in enumerate(row["seq_lengths"]):
                positions[i, start : start + length] = torch.arange(length)
                document[i, start : start + length] = number
                labels[i, start] = IGNORED  # nothing precedes it that may be looked at
                start += length
        same = document[:, None, :, None] == document[:, None, None, :]
        causal = torch.ones(self.length, self.length, dtype=torch.bool).tril()
        return {"input_ids": ids, "labels": labels, "position_ids": positions, "attention_mask": same & causal}
