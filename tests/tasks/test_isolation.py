"""Packing does not leak, whatever the architecture; one that cannot keep documents apart gets one a row."""

import random

import pytest
import torch

from tasks.lib import models, objectives
from tasks.lib.errors import ConfigError
from tasks.lib.isolation import LaidOut, Layout, layout_for
from tasks.lib.objectives import Objective
from tests.conftest import WORDS
from tests.tiny import DECODERS, ENCODERS, model_of, tokenizer_of

LENGTH = 96
FORMS = {"mobilebert": "rows", "modernbert": "windows", "sliding": "windows", "gpt-neo": "scores", "gpt-j": "scores"}


def _texts(seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choice(WORDS) for _ in range(6 + 9 * n)) for n in range(5)]


def _logits(model: torch.nn.Module, objective: Objective, pieces: list[dict[str, list[int]]]) -> list[torch.Tensor]:
    """Of each piece, as it is laid out."""
    blocks = objective.encoder.pack(pieces, 0, together=objective.layout.packed)
    found: dict[tuple[int, ...], torch.Tensor] = {}
    collate = LaidOut(objective.tokenizer.pad_token_id, LENGTH, objective.layout)
    for block in blocks:
        batch = models.moved({k: v for k, v in collate([block]).items() if k != "labels"}, torch.device("cpu"))
        with torch.inference_mode():
            logits = model(**batch).logits[0]
        start = 0
        for size in block["seq_lengths"]:
            found[tuple(block["input_ids"][start : start + size])] = logits[start : start + size]
            start += size
    return [found[tuple(piece["input_ids"])] for piece in pieces]


@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS])
def test_packed_and_unpacked_give_the_same_and_a_poisoned_neighbour_changes_nothing(name: str) -> None:
    tokenizer = tokenizer_of(name)
    model = model_of(name, tokenizer).eval()
    objective = objectives.choose(model, tokenizer, LENGTH)
    assert objective.layout.form == FORMS.get(name, "truth")
    pieces = [piece for text in _texts(1) for piece in objective.encoder.document(text)]
    packed = _logits(model, objective, pieces)
    for piece, found in zip(pieces, packed, strict=True):
        ids = torch.tensor([piece["input_ids"]])
        with torch.inference_mode():
            alone = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-3)
        own = ids[0]
        loss = [torch.nn.functional.cross_entropy(logits[:-1], own[1:]) for logits in (found, alone)]
        assert float(loss[0]) == pytest.approx(float(loss[1]), rel=1e-4)
    poisoned = [{**piece, "input_ids": list(reversed(piece["input_ids"]))} for piece in pieces[:-1]]
    torch.testing.assert_close(_logits(model, objective, [*poisoned, pieces[-1]])[-1], packed[-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "form"), [("gpt-neo", "truth"), ("gpt-j", "truth"), ("mobilebert", "scores"), ("modernbert", "truth")])
def test_the_forms_that_are_not_taken_do_leak(name: str, form: str) -> None:
    """What is chosen matters: the plain block mask would have let these models see their neighbours, or too far."""
    tokenizer = tokenizer_of(name)
    model = model_of(name, tokenizer).eval()
    objective = objectives.choose(model, tokenizer, LENGTH)
    pieces = [piece for text in _texts(1) for piece in objective.encoder.document(text)]
    right = _logits(model, objective, pieces)
    wrong = Objective("", objective.encoder, Layout(form, name not in ENCODERS), tokenizer, 0.15)  # type: ignore[arg-type]  # a name
    apart = [float((a - b).abs().max()) for a, b in zip(right, _logits(model, wrong, pieces), strict=True)]
    assert max(apart) > 1e-4


def test_a_block_longer_than_the_positions_of_a_table_is_refused() -> None:
    tokenizer = tokenizer_of("roberta")
    model = model_of("roberta", tokenizer)
    first = tokenizer.pad_token_id + 1
    assert layout_for(model, tokenizer.pad_token_id, 130 - first, causal=False).packed
    with pytest.raises(ConfigError, match=f"a model with {130 - first} positions"):
        layout_for(model, tokenizer.pad_token_id, 131 - first, causal=False)
