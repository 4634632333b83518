"""Values that a person writes into a domain card: what each may be, told by a ValueError with what would be right."""

import codecs
import re
from datetime import datetime
from string import Formatter

from cronsim import CronSim, CronSimError


def plain_columns(templates: dict[str, str]) -> dict[str, str]:
    """Templates that name columns, and format nothing."""
    for key, template in templates.items():
        try:
            parts = list(Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"{key}: {error} (write {{{{ for a brace)") from error
        if any(spec or conversion for _, _, spec, conversion in parts):
            raise ValueError(f"{key}: {template!r} formats a value; only plain {{column}} is allowed")
    return templates


def safe_jq(program: str | None) -> str | None:
    """A jq program whose result follows from its row alone."""
    if program and (
        found := re.search(
            r"\$ENV|\b(env|input|inputs|include|import|input_filename|halt|halt_error|now|localtime|strflocaltime|input_line_number)\b",
            program,
        )
    ):
        raise ValueError(f"jq's {found.group(0)!r} reaches outside the row, or gives another value every time, and is not allowed")
    return program


def known_encoding(name: str) -> str:
    """The name of a text encoding."""
    try:
        text = codecs.lookup(name)._is_text_encoding  # not rot13, not base64
    except LookupError:
        text = False
    if not text:
        raise ValueError(f"{name!r} is no text encoding; for instance: utf-8, cp1252, latin-1, utf-16")
    return name


def cron(expression: str) -> str:
    """The expression, if cron understands it.

    Raises:
        ValueError: with what is wrong in it.
    """
    try:
        CronSim(expression, datetime(2000, 1, 1))  # only read, no time is asked for
    except CronSimError as error:
        raise ValueError(f"{expression!r} is no cron schedule ({error}); write for instance '0 3 * * 1', Mondays at 03:00 UTC") from error
    return expression
