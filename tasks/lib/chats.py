"""Conversations: a list of turns becomes one record, of which every answer is trained once, with the turns before it."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt"), "assistant"),
}
SPEAKER, SAID = ("role", "from"), ("content", "value")  # OpenAI's and ShareGPT's names
WHOLE_COLUMN = re.compile(r"\{[^{}]+\}")
Turn = dict[str, str]
LAST = 6  # turns of a conversation that are shown where there is little room


class Malformed(ValueError):  # noqa: N818  # not an error, a reason
    """Why a value is no conversation that can be trained on: a reason, and what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


class Conversation(NamedTuple):
    """The last question and its answer, and what was said before, in turns of user and assistant."""

    system: str
    history: list[Turn]
    prompt: str
    response: str


def looks_like(value: Any) -> bool:
    """Whether a value is a list of turns."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) and _key(turn, SPEAKER) for turn in value)


def conversation(value: Any) -> Conversation:
    """A list of turns, `{role, content}` or `{from, value}`, read as a conversation.

    An optional system message comes first; then user and assistant take turns, and the assistant has the last word.

    Raises:
        Malformed: if it is anything else.
    """
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        raise Malformed("not-a-conversation", f"a {type(value).__name__}, not a list of turns such as {{role, content}}")
    turns = [_turn(turn, number) for number, turn in enumerate(value, start=1)]
    system = turns.pop(0)["content"] if turns and turns[0]["role"] == "system" else ""
    if not any(turn["role"] == "assistant" for turn in turns):
        raise Malformed("no-assistant-turn", f"{len(turns)} turn(s), none of the assistant")
    first = len(value) - len(turns) + 1
    for number, turn in enumerate(turns):
        if turn["role"] != (expected := ("user", "assistant")[number % 2]):
            raise Malformed("turns-out-of-order", f"turn {first + number} is of the {turn['role']}, where the {expected}'s turn is")
    if turns[-1]["role"] == "user":
        raise Malformed("unanswered-turn", f"turn {len(value)}, the last, is of the user")
    return Conversation(system, turns[:-2], turns[-2]["content"], turns[-1]["content"])


def require_mappable(template: str, labelled: bool) -> None:
    """Refuse a map of `messages` that is more than a column, or whose answers are to be labels.

    Raises:
        ValueError: with what to write.
    """
    if not WHOLE_COLUMN.fullmatch(template):
        raise ValueError(f"messages maps one column that holds a list of turns, such as {{messages}}, not {template!r}")
    if labelled:
        raise ValueError("choices are for questions with one answer; map prompt and response, or leave `choices:` out")


def told(turns: Sequence[Turn]) -> str:
    """Turns as text, each behind its speaker; further lines of a turn are indented, so that none looks like another turn."""
    return "\n".join(f"{turn['role']}: " + "\n    ".join(turn["content"].splitlines()) for turn in turns)


def latest(turns: Sequence[Turn]) -> tuple[str, Sequence[Turn]]:
    """The last turns, those that an answer is most about, and how many are not among them ("" where all are)."""
    more = len(turns) - LAST
    return (f"{more:,} earlier turn{'s' * (more > 1)}, not shown" if more > 0 else ""), turns[-LAST:]


def _key(turn: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in turn), None)


def _turn(turn: dict[str, Any], number: int) -> Turn:
    speaker, said = _key(turn, SPEAKER), _key(turn, SAID)
    if speaker is None or said is None:
        raise Malformed("not-a-conversation", f"turn {number} has the keys {', '.join(map(repr, turn))}, not role and content")
    role = ROLES.get(str(turn[speaker]).strip().lower())
    if role is None:
        raise Malformed("unknown-role", f"turn {number} is of {str(turn[speaker])[:40]!r}, not system, user or assistant")
    if not isinstance(turn[said], str) or not turn[said].strip():
        raise Malformed("empty-turn", f"turn {number}, of the {role}, holds no text")
    return {"role": role, "content": turn[said]}
