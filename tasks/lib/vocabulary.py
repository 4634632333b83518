"""A domain's own words as tokens of a model: mined where they cost many pieces, begun as the mean of those pieces, checked."""

import copy
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AddedToken, PreTrainedModel, PreTrainedTokenizerBase

from tasks.lib import models
from tasks.lib.errors import DataError, StageError

WORD = re.compile(r"[^\W\d_][\w-]*\w")  # a letter first, no punctuation at the end
PIECES, TIMES = 3, 3  # a word of fewer pieces, or met less often, is none worth a token
CHECKED = 50  # texts, and tokens whose logits are compared


@dataclass(frozen=True)
class Extension:
    """What was added, and what texts cost before and after: tokens for so many words."""

    words: list[str]
    counted: int
    before: int
    after: int

    def facts(self) -> dict[str, int]:
        """As counts, which are the same every time."""
        return {
            "new_tokens": len(self.words),
            "fertility_words": self.counted,
            "fertility_tokens_before": self.before,
            "fertility_tokens_after": self.after,
        }

    def measured(self) -> dict[str, Any]:
        """Tokens a word, and the words themselves."""
        return {
            "fertility_before": round(self.before / max(1, self.counted), 4),
            "fertility_after": round(self.after / max(1, self.counted), 4),
            "new_words": self.words,
        }


def mine(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, count: int) -> list[str]:
    """The words whose own token saves most: times met, times the pieces saved by each; of equal ones in alphabetical order."""
    met = Counter(word for text in texts for word in _words(tokenizer, text))
    spaced = _spaced(tokenizer)
    saved = {word: times * (_pieces(tokenizer, word, spaced) - 1) for word, times in met.items() if times >= TIMES}
    worth = [word for word in saved if saved[word] >= (PIECES - 1) * met[word]]
    return sorted(worth, key=lambda word: (-saved[word], word))[:count]


def extend(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: int | Sequence[str], texts: list[str], held_out: list[str]
) -> Extension:
    """Add words to a tokenizer and a model, in place; each begins as the mean of its pieces (Hewitt, 2021; Yao et al., 2021).

    Args:
        model: a model with input embeddings; output embeddings of its own, and a bias of them, are begun likewise.
        tokenizer: its tokenizer.
        asked: so many words, mined from the texts, or the words themselves.
        texts: the domain's training documents.
        held_out: documents on which tokens a word are counted.

    Raises:
        DataError: if no word is worth a token, or all are tokens already.
        StageError: if a text does not come back from the tokens as it did before.
    """
    words = mine(texts, tokenizer, asked) if isinstance(asked, int) else list(dict.fromkeys(asked))
    spaced = _spaced(tokenizer)
    words = [word for word in words if _pieces(tokenizer, word, spaced) > 1]
    kept = _unchanged(tokenizer, words, spaced)
    if not isinstance(asked, int) and len(kept) < len(words):
        lost = next(word for word in words if word not in kept)
        raise DataError("pretrain.new_tokens: words that come back from their token", f"{lost!r}, which does not", "leave it out")
    words = kept
    if not words:
        raise DataError("pretrain.new_tokens: words of several pieces", "none", "ask for no new token, or name other words")
    pieces = [tokenizer.encode(f" {word}" if spaced else word, add_special_tokens=False) for word in words]
    before, was = _count(tokenizer, held_out), _back(tokenizer, [*held_out, *texts][:CHECKED])
    added = _as_tokens(words, spaced)
    tokenizer.add_tokens(added)
    _require_same(was, _back(tokenizer, [*held_out, *texts][:CHECKED]))
    _embed(model, tokenizer.convert_tokens_to_ids([str(token) for token in added]), pieces, len(tokenizer))
    counted = sum(len(WORD.findall(text)) for text in held_out)
    return Extension(words, counted, before, _count(tokenizer, held_out))


def _as_tokens(words: Sequence[str], spaced: bool) -> list[AddedToken]:
    """Behind a space, as a word stands in a text, where the tokenizer keeps the space in the token; others take it off."""
    return [AddedToken(f" {word}" if spaced else word, single_word=not spaced, normalized=not spaced) for word in words]


def _unchanged(tokenizer: PreTrainedTokenizerBase, words: list[str], spaced: bool) -> list[str]:
    """Those that come back from their token as they did before: a tokenizer may part a word at its hyphen, or decode otherwise."""
    trial = copy.deepcopy(tokenizer)
    sentences = [f"a {word} b" for word in words]
    before = _back(tokenizer, sentences)
    trial.add_tokens(_as_tokens(words, spaced))
    return [word for word, old, new in zip(words, before, _back(trial, sentences), strict=True) if old == new]


def _spaced(tokenizer: Any) -> bool:
    """Whether the space before a word is in its first piece, as in all but BERT's way (WordPiece)."""
    return type(tokenizer.backend_tokenizer.model).__name__ != "WordPiece"


def _words(tokenizer: Any, text: str) -> list[str]:
    """The words of a text; in lower case, and without accents, where that is BERT's way."""
    plain = tokenizer.backend_tokenizer.normalizer
    return WORD.findall(text if plain is None or _spaced(tokenizer) else plain.normalize_str(text))


def _pieces(tokenizer: PreTrainedTokenizerBase, word: str, spaced: bool) -> int:
    return len(tokenizer.tokenize(f" {word}" if spaced else word))


def _count(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> int:
    return sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)


def _back(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[str]:
    """Some texts as they come back from their tokens: in lower case, say, if that is the tokenizer's way."""
    return [tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) for text in texts]


def _require_same(before: list[str], after: list[str]) -> None:
    for old, new in zip(before, after, strict=True):
        if old != new:
            place = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
            raise StageError(
                "a text that comes back from the extended tokenizer as from the old one",
                f"{new[max(0, place - 20) : place + 20]!r} for {old[max(0, place - 20) : place + 20]!r}",
                "name words without this one in pretrain.new_tokens",
            )


@torch.no_grad()
def _embed(model: PreTrainedModel, ids: list[int], pieces: list[list[int]], size: int) -> None:
    """Give each new token the mean of its pieces' rows, in the embeddings that read and in those that write."""
    if size > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(size, mean_resizing=False)
    head = model.get_output_embeddings()
    tables = [model.get_input_embeddings().weight]
    if head is not None and head.weight.data_ptr() != tables[0].data_ptr():
        tables.append(head.weight)
    if head is not None and head.bias is not None:
        tables.append(head.bias)
    for number, parts in zip(ids, pieces, strict=True):
        for table in tables:
            table[number] = table[parts].mean(0)


def require_reloaded(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, words: Sequence[str]) -> None:
    """Load what was saved, and compare on a text of the new words: tokens, logits, and whether embeddings are tied.

    Raises:
        StageError: if the saved model is another one.
    """
    again, saved = models.load(folder).to(model.device).eval(), models.load_tokenizer(folder)
    text = " ".join(["a", *words])
    ids = tokenizer.encode(text, add_special_tokens=False)
    added, found = {str(token) for token in _as_tokens(words, _spaced(tokenizer))}, []
    if saved.encode(text, add_special_tokens=False) != ids:
        found.append("other tokens for the same text")
    if not added <= {*saved.convert_ids_to_tokens(ids)}:
        found.append("new words that are no tokens")
    ids = ids[-CHECKED:]
    if _tied(model) != _tied(again):
        found.append("embeddings that are not tied as they were")
    training = model.training
    model.eval()
    with torch.inference_mode():
        given = torch.tensor([ids], device=model.device)
        if not torch.equal(model(input_ids=given).logits, again(input_ids=given).logits):
            found.append("other logits")
    model.train(training)
    if found:
        raise StageError(f"the extended model in {folder} as it was trained", "; ".join(found), "this is a fault in slmforge: report it")


def _tied(model: PreTrainedModel) -> bool:
    head = model.get_output_embeddings()
    return head is not None and head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
