"""A domain's words become tokens: fewer of them for the same text, begun as the mean of their pieces, kept when saved."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertTokenizerFast, PreTrainedTokenizerBase

from tasks.lib import models, vocabulary
from tasks.lib.errors import DataError, StageError
from tests.tiny import model_of, tokenizer_of

TERMS = ("Metformin", "hydrochlorothiazide", "angiotensin-II", "Löwenzahn")
SPELLED = {*TERMS, *(f"{term}s" for term in TERMS), "metformin", "metformins", "lowenzahn", "lowenzahns", "hydrochlorothiazides", "green"}


def _texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    words = ["alpha", "river", "green", *TERMS]
    return [
        f"Is {' '.join(draw.choice(words) for _ in range(20))}, or not? See (Metformin).\n  {draw.choice(TERMS)}s" for _ in range(count)
    ]


def _wordpieces(place: Path) -> PreTrainedTokenizerBase:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *"().,?-", "alpha", "river"]
    (place / "vocab.txt").write_text("\n".join(entries))
    made: PreTrainedTokenizerBase = BertTokenizerFast(vocab=str(place / "vocab.txt"), do_lower_case=True)
    return made


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2", "gpt-j", "bert", "modernbert"])
def test_words_become_tokens_and_the_model_is_kept_when_saved(name: str, tmp_path: Path) -> None:
    tokenizer = _wordpieces(tmp_path) if name == "bert" else tokenizer_of(name)
    model = model_of(name, tokenizer)
    tied = vocabulary._tied(model)
    assert tied is (name not in ("llama", "gpt-j"))
    texts, held_out = _texts(40, 1), _texts(10, 2)
    back = [tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) for text in held_out]
    size = len(tokenizer)
    pieces = {word: tokenizer.encode(f" {word}" if name != "bert" else word, add_special_tokens=False) for word in SPELLED}
    table = model.get_input_embeddings().weight.detach().clone()
    made = vocabulary.extend(model, tokenizer, 5, texts, held_out)
    assert len(tokenizer) == size + len(made.words) == model.get_input_embeddings().num_embeddings == model.config.vocab_size
    # BERT's own way takes accents and capitals off, and parts at a hyphen, which a token would not
    assert ("lowenzahn" if name == "bert" else "Löwenzahn") in made.words
    assert ("angiotensin-II" in made.words) is (name != "bert")
    assert "angiotensin-ii" not in made.words
    assert made.facts()["fertility_tokens_after"] < 0.7 * made.facts()["fertility_tokens_before"]
    assert [tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) for text in held_out] == back
    for number, word in enumerate(made.words):
        expected = table[pieces[word]].mean(0)
        torch.testing.assert_close(model.get_input_embeddings().weight[size + number], expected)
    vocabulary_head = model.get_output_embeddings()
    assert vocabulary_head.weight.shape[0] == size + len(made.words)
    assert vocabulary._tied(model) is tied
    models.save(model, tokenizer, tmp_path / "saved")
    vocabulary.require_reloaded(model, tokenizer, tmp_path / "saved", made.words)
    with torch.no_grad():
        model.get_input_embeddings().weight[-1] += 1  # a new word's, which a document may not have
    with pytest.raises(StageError, match="other logits"):
        vocabulary.require_reloaded(model, tokenizer, tmp_path / "saved", made.words)


def test_a_token_begins_where_its_pieces_are_in_an_output_of_its_own() -> None:
    tokenizer = tokenizer_of("gpt-j")
    model: Any = model_of("gpt-j", tokenizer)
    torch.nn.init.normal_(model.lm_head.bias)
    pieces = tokenizer.encode(" Metformin", add_special_tokens=False)
    weight, bias = model.lm_head.weight[pieces].mean(0).detach(), model.lm_head.bias[pieces].mean(0).detach()
    vocabulary.extend(model, tokenizer, ["Metformin"], ["x"], ["x"])
    torch.testing.assert_close(model.lm_head.weight[-1], weight)
    torch.testing.assert_close(model.lm_head.bias[-1], bias)


def test_words_that_save_nothing_are_no_tokens() -> None:
    tokenizer = tokenizer_of("llama")
    assert vocabulary.mine(["alpha river green " * 50 + "Metformin"], tokenizer, 5) == []
    with pytest.raises(DataError, match="none"):
        vocabulary.extend(model_of("llama", tokenizer), tokenizer, ["river"], ["x"], ["x"])
