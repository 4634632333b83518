"""JSON as it is written: nothing in it is lost, or taken for something else."""

import json
import math
from typing import Any

EXACT_DIGITS = 15  # of a whole number that a double holds exactly


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that stands twice would lose one of its values."""
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return made


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= EXACT_DIGITS else digits


def _finite(digits: str) -> float:
    """A number that a double can hold: infinity is none that the file means."""
    if math.isinf(number := float(digits)):
        raise ValueError(f"{digits[:40]} is no number that can be read (write a smaller one, or a text in quotes)")
    return number


def _no_constant(name: str) -> None:
    """NaN and the infinities are no JSON, and other readers take them for other things."""
    raise ValueError(f"{name} is no JSON value (write null, or a number)")


AS_IT_IS = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
# jq computes in double precision: a longer whole number goes through it as text, digit by digit
FOR_JQ = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole_number)
