"""Pages from templates: what is put into them is escaped, numbers read the same everywhere."""

import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def templates() -> Environment:
    """Templates of pages; everything that is put into them is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(number=number, signed=signed, words=words)
    return environment


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A number for people; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}{unit}"


def signed(value: float, digits: int = 1, unit: str = "") -> str:
    """A number with its sign."""
    return f"{value:+,.{digits}f}{unit}".replace("-", "−")


def words(text: str) -> str:
    """A key as words."""
    return text.replace("_", " ")
