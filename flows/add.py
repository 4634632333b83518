"""`slmforge add`: look at a file, propose how it is read, and write its entry into the domain's card."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import click

from flows import entries
from tasks.lib import digests, domain, propose
from tasks.lib.errors import ConfigError
from tasks.lib.records import CONTENT
from tasks.lib.rows import SourceRow

SHOWN = 3
KINDS = ("user", "public", "licensed", "scraped", "synthetic")


def add(name: str, file: Path, given: dict[str, Any], maps: tuple[str, ...], agreed: bool) -> None:
    """Propose an entry for a file and write it if the user agrees.

    Args:
        name: the domain.
        file: the file; one that lies elsewhere is copied into the domain's data/.
        given: what the user has said: `name`, `role`, `licence`, `kind`; None where nothing.
        maps: FIELD=TEMPLATE words, which replace the proposed map.
        agreed: write without asking.

    Raises:
        ConfigError: if something that only the user can know is missing, or the entry is refused; the card is as before.
        DataError: if the file cannot be read.
    """
    folder = domain.load(name).folder
    relative = _place(folder, file)
    entry: dict[str, Any] = {"name": given["name"] or _name(file), "source": {"path": relative}}
    how, rows = propose.look(file, entry["name"], relative)
    form = Path(rows[0].file).suffix.lstrip(".").lower()
    made = {"role": given["role"], "map": dict(_pair(word) for word in maps)} if maps else propose.role_and_map(rows, form, given["role"])
    if made["role"] is None:
        raise ConfigError("a role for the map given", "none", "add --role corpus, tune, preference, eval or general")
    entry = {"name": entry["name"], "role": made.pop("role"), "source": entry["source"], **how, **made}
    records, aside = propose.sample(entry, rows)
    _show(file, entry, rows, records, aside)
    entry |= {"licence": _asked(given["licence"], "licence", agreed), "kind": _asked(given["kind"], "kind", agreed)}
    if not agreed and not click.confirm(f"Write this entry into {folder / 'domain.yaml'}?"):
        print("nothing was written")
        return
    _write(folder, file, relative, entry)
    print(f"added {entry['name']} to {folder / 'domain.yaml'}; now: slmforge check {name}")


def _place(folder: Path, file: Path) -> str:
    """Where the file lies, or will lie, in the domain's folder."""
    if not file.is_file():
        raise ConfigError(f"a file {file}", "no such file", "give the path of a file")
    if file.resolve().is_relative_to(folder.resolve()):
        return file.resolve().relative_to(folder.resolve()).as_posix()
    target = folder / "data" / file.name
    if target.exists() and digests.of_file(target) != digests.of_file(file):
        raise ConfigError(f"a place for {file.name} in {folder / 'data'}", "another file of that name", "rename one of the two")
    return f"data/{file.name}"


def _name(file: Path) -> str:
    stem = file.name.lower().split(".")[0]
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in stem).strip("-")[:63] or "data"


def _pair(word: str) -> tuple[str, str]:
    field, mark, template = word.partition("=")
    if not mark:
        raise ConfigError("a map as FIELD=TEMPLATE", f"{word!r}", 'for instance: --map prompt="{question}"')
    return field, template


def _show(file: Path, entry: dict[str, Any], rows: list[SourceRow], records: list[dict[str, Any]], aside: Counter[str]) -> None:
    print(f"{file.name}: columns {', '.join(map(repr, rows[0].columns))}\n")
    print(entries.text([entry]))
    print(f"Of the first {len(rows)} rows, {len(records)} can be used" + "".join(f", {n} set aside: {why}" for why, n in aside.items()))
    for record in records[:SHOWN]:
        print(f"\nrow {record['row']}, as the model will see it:")
        for field in CONTENT:
            if record.get(field):
                text = " ".join(record[field].split())
                print(f"  {field}: {text if len(text) <= 300 else text[:300] + ' …'}")
    print()


def _asked(value: str | None, what: str, agreed: bool) -> str:
    """What only the user can know: given, asked for, or missing."""
    if value is not None:
        return value
    if agreed:
        raise ConfigError(f"--{what}, with --yes", "none", f"add --{what}: nobody but you can know it")
    if what == "kind":
        return str(click.prompt("Where are the rows from?", type=click.Choice(KINDS)))
    return str(click.prompt("Under which licence may they be used (SPDX id, for instance CC-BY-4.0)?"))


def _write(folder: Path, file: Path, relative: str, entry: dict[str, Any]) -> None:
    """Append the entry, comments kept; the card takes its place only if it is a card."""
    card = folder / "domain.yaml"
    made = entries.with_entries(card, [entry])
    if not (folder / relative).exists():
        (folder / "data").mkdir(exist_ok=True)
        shutil.copyfile(file, folder / relative)
    entries.replace(card, made)
