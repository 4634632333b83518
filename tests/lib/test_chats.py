"""Conversations become records; what is none is set aside with its reason; every answer is trained once."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase as Tokenizer

from tasks.clean import CleanConfig, clean
from tasks.dedup import DedupConfig, dedup
from tasks.lib import chats, models
from tasks.lib.packing import IGNORED, Encoder
from tasks.lib.records import iterate
from tasks.split import SplitConfig, split
from tests.conftest import WORDS
from tests.datasets import ingested, reasons, resolved

MAP = {"messages": "{messages}"}


def said(*turns: str, first: str = "user") -> list[dict[str, str]]:
    other = {"user": "assistant", "assistant": "user"}[first]
    return [{"role": (first, other)[i % 2], "content": text} for i, text in enumerate(turns)]


def seen(tokenizer: Tokenizer, pieces: list[dict[str, Any]]) -> list[str]:
    return [tokenizer.decode([token for token in piece["labels"] if token != IGNORED]) for piece in pieces]


@pytest.fixture
def tokenizer() -> Tokenizer:
    return models.train_tokenizer([" ".join(WORDS)], 400)


def test_openai_and_sharegpt_turns_are_the_same_conversation() -> None:
    one = [{"role": "system", "content": "be short"}, *said("who?", "me", "when?", "now")]
    other = [{"from": {"user": "human", "assistant": "gpt"}.get(t["role"], t["role"]), "value": t["content"]} for t in one]
    assert chats.conversation(one) == chats.conversation(other) == ("be short", said("who?", "me"), "when?", "now")


MALFORMED = {
    "no-assistant-turn": said("who?"),
    "unanswered-turn": said("who?", "me", "when?"),
    "turns-out-of-order": [*said("who?"), *said("and when?", "now")],
    "unknown-role": [*said("who?", "me"), {"role": "tool", "content": "{}"}],
    "empty-turn": said("who?", "  "),
    "not-a-conversation": "who? me",
}


def test_malformed_conversations_are_set_aside_with_reasons(workplace: Path) -> None:
    values = [said("who?", "me"), *MALFORMED.values(), said("hello", "hi", first="assistant"), [{"text": "who?"}], [1]]
    made = ingested(resolved(workplace, "chat", "tune", [{"messages": v} for v in values] + [{"messages": said("a", "b")}] * 9, map=MAP))
    assert list(reasons(made).values()) == [*MALFORMED, "turns-out-of-order", "not-a-conversation", "not-a-conversation"]
    details = " ".join(row["detail"] for row in iterate(made.path, "set_aside"))
    assert "turn 2 is of the user, where the assistant's turn is" in details
    assert "turn 3 is of 'tool'" in details
    assert all(line.balanced for line in made.ledger)


def test_a_conversation_is_one_row_through_every_data_stage_and_on_one_side(workplace: Path) -> None:
    rows = [{"messages": said(f"who  is {i}?", "me\u200b", f"when {i % 3}?", "now")} for i in range(40)]
    again = {"messages": said("who is 7?", "me", "when 1?", "now")}
    other = {"messages": said("who is 7?", "you", "when 1?", "now")}
    read = ingested(resolved(workplace, "chat", "tune", [*rows, again, other], map=MAP))
    tidy = dedup(DedupConfig(), clean(CleanConfig(), read))
    assert reasons(tidy) == {"chat:41": "exact-repeat"}
    made = split(SplitConfig(valid=0.2), tidy)
    parts = {part: list(iterate(made.path, f"tune-{part}")) for part in ("train", "valid")}
    assert sum(map(len, parts.values())) == 41
    assert parts["valid"]
    assert all(row["history"][1]["content"] in ("me", "you") for found in parts.values() for row in found)
    opening = {part: {row["history"][0]["content"] for row in found} for part, found in parts.items()}
    assert not opening["train"] & opening["valid"]
    size = made.sizes["tune-train"]["chat"]
    assert size.characters == sum(
        len(row["prompt"] + row["response"] + "".join(t["content"] for t in row["history"])) for row in parts["train"]
    )


def test_a_conversation_that_asks_what_is_evaluated_is_set_aside_by_any_of_its_questions(workplace: Path) -> None:
    asked = resolved(workplace, "asked", "eval", [{"q": "Who pays?", "a": "the tenant"}])
    chat = [{"messages": said("who PAYS?", "him", f"and {i}?", "no")} for i in range(2)] + [{"messages": said("hi", "ho")}] * 1
    made = split(SplitConfig(overlap="set-aside"), ingested(asked, resolved(workplace, "chat", "tune", chat, map=MAP)))
    assert reasons(made) == {"chat:1": "eval-overlap", "chat:2": "eval-overlap"}


def test_every_answer_is_a_label_once_and_nothing_else_is(tokenizer: Tokenizer) -> None:
    row = {"history": said("who is it?", "a river", "how wide?", "as a green field"), "prompt": "why?", "response": "no word"}
    encoder = Encoder(tokenizer, 512)
    (piece,) = encoder.exchange({**row, "system": "be short"})
    (labels,) = seen(tokenizer, [piece])
    assert [labels.count(text) for text in ("a river", "as a green field", "no word")] == [1, 1, 1]
    assert not any(text in labels for text in ("who is it?", "how wide?", "why?", "be short", "user"))
    assert tokenizer.decode(piece["input_ids"]).count("how wide?") == 1
    assert encoder.tally.rows == 1


def test_a_conversation_that_is_too_long_is_a_piece_for_each_answer(tokenizer: Tokenizer) -> None:
    row = {"history": said("who " * 30, "a river"), "prompt": "why " * 30, "response": "no word"}
    whole = len(Encoder(tokenizer, 4096).exchange(row)[0]["input_ids"])
    encoder = Encoder(tokenizer, whole - 1)
    told = seen(tokenizer, encoder.exchange(row))
    assert ["a river" in told[0], "no word" in told[1], len(told)] == [True, True, 2]
    assert (encoder.tally.rows, encoder.tally.rows_truncated, encoder.tally.tokens_truncated) == (1, 1, 1)
    assert encoder.lost[""].truncated == 1


def test_a_conversation_of_which_an_answer_is_left_out_is_part_too_long(tokenizer: Tokenizer) -> None:
    row = {"history": said("who?", "a river " * 60), "prompt": "why?", "response": "no word"}
    encoder = Encoder(tokenizer, 40)
    (piece,) = encoder.exchange(row)
    tally = encoder.tally
    assert (tally.rows, tally.rows_too_long, tally.rows_part_too_long) == (1, 0, 1)
    assert tally.tokens_given == len(piece["input_ids"]) + tally.tokens_truncated + tally.tokens_left_out
    assert tally.tokens_left_out == encoder.lost[""].tokens_left_out > 60
    assert encoder.exchange({"prompt": "why?", "response": "a river " * 60}) == []
    assert (tally.rows, tally.rows_too_long, tally.rows_part_too_long) == (2, 1, 1)


def test_a_template_that_rewrites_earlier_turns_is_a_piece_for_each_answer(tokenizer: Tokenizer) -> None:
    """As Qwen3's does, which takes earlier reasoning away."""
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role if loop.last or m.role == 'user' else 'earlier' }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    told = seen(tokenizer, Encoder(tokenizer, 512).exchange({"history": said("who?", "a river"), "prompt": "why?", "response": "no word"}))
    assert ["a river" in told[0], "no word" in told[1], len(told)] == [True, True, 2]


@pytest.mark.parametrize(
    ("card", "says"), [({"map": {"messages": "Q {m}"}}, "maps one column"), ({"map": MAP, "choices": ["b"]}, "one answer")]
)
def test_what_a_conversation_cannot_be_is_refused(card: dict[str, Any], says: str, workplace: Path) -> None:
    with pytest.raises(ValidationError, match=says):
        resolved(workplace, "chat", "tune", [{"messages": said("a", "b")}], **card)


def test_an_object_in_a_cell_is_never_written_as_code(workplace: Path) -> None:
    rows = [{"q": f"one {i}?", "a": {"text": ["the tenant"], "start": [3]}, "o": [{"value": "x"}]} for i in range(3)]
    read = ingested(resolved(workplace, "asked", "tune", rows, map={"prompt": "{q}", "response": "{a.text}"}))
    assert [row["response"] for row in iterate(read.path, "tune")] == ["the tenant"] * 3
    for field, path in (("a", "{a.text}"), ("o", "{o.0.value}")):
        mixed = [*({"q": f"{i}?", field: "plain"} for i in range(4)), *rows]
        made = ingested(resolved(workplace, f"mixed-{field}", "tune", mixed, map={"prompt": "{q}", "response": f"{{{field}}}"}))
        assert set(reasons(made).values()) == {"nested-value"}
        assert all(path in row["detail"] for row in iterate(made.path, "set_aside"))
        assert "{" not in json.dumps([row["response"] for row in iterate(made.path, "tune")])
