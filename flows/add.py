"""`slmforge add`: look at a file, propose how it is read, and write its entry into the domain's card."""

import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import click

from flows import entries
from tasks.clean import CleanConfig
from tasks.lib import chats, digests, domain, files, guess, guess_cells, layouts, pairs, parts, places, propose
from tasks.lib.card_values import plain_columns
from tasks.lib.config import build
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.records import TOLD
from tasks.lib.rows import SourceRow

SHOWN = 3
SAID = ("encoding", "broken", "delimiter", "header", "sheet", "records")  # of an entry: how a file is read
KEY = re.compile(
    rf"`(?P<name>{'|'.join(SAID)}):\s*(?P<value>[^`]*)`(?: \(a jq expression\))?(?: in (?:the dataset's entry in )?domain\.yaml)?"
)
KINDS = ("user", "public", "licensed", "scraped", "synthetic")


def add(name: str, file: Path, given: dict[str, Any], maps: tuple[str, ...], agreed: bool) -> None:
    """Propose an entry for a file and write it if the user agrees.

    Args:
        name: the domain.
        file: the file, or a folder of files; what lies elsewhere is copied into the domain's data/.
        given: what the user has said: `name`, `role`, `licence`, `kind`, and keys of the entry (SAID); None where nothing.
        maps: FIELD=TEMPLATE words, which replace the proposed map.
        agreed: write without asking.

    Raises:
        ConfigError: if something that only the user can know is missing, or the entry is refused; the card is as before.
        DataError: if the file cannot be read.
    """
    loaded = domain.load(name)
    folder, card = loaded.folder, loaded.card
    relative = _place(loaded, file, given["name"])
    _require_new(loaded, given["name"] or _name(file))
    for what in ("licence", "kind"):
        if agreed and given[what] is None:
            raise ConfigError(f"--{what}, with --yes", "none", f"add --{what}: nobody but you can know it")
    if given["licence"] is not None:
        entries.require_licence(given["licence"], card.licences, folder / "domain.yaml")
    entry, rows = _apart(file, relative, given, maps)
    records, aside = propose.sample(entry, rows, build(CleanConfig, card.config.get("clean", {}), "`clean` under `config:`").min_chars)
    _show(file, entry, rows, given["encoding"])
    _show_records(rows, records, aside)
    if (told := propose.of_a_list(entry, rows)) is not None:
        print(f"{told}\n")
    _show_answers(propose.several_answers(entry, records), propose.unused(entry, rows), rows)
    if agreed and len(records) * 2 < len(rows):
        found = f"{len(records) or 'none'} of the first {len(rows)}{_reasons(aside)}"
        raise ConfigError("rows of which most can be used, with --yes", found, "correct --map and --role, or the file")
    entry |= {"licence": given["licence"] or _licence(name), "kind": given["kind"] or _kind()}
    if not agreed and not click.confirm(f"Write this entry into {folder / 'domain.yaml'}?"):
        print("nothing was written")
        return
    _write(folder, file, relative, entry)
    print(f"added {entry['name']} to {folder / 'domain.yaml'}; now: slmforge check {name}")


def _apart(file: Path, relative: str, given: dict[str, Any], maps: tuple[str, ...]) -> tuple[dict[str, Any], list[SourceRow]]:
    """What is proposed; of what is not read line by line, in a process of its own, which a broken file may kill."""
    elsewhere = file.is_dir() or not parts.is_plain(file, file.name, None)
    try:
        (found,) = parts.in_order(_proposed, [(file, relative, given, maps)], None, elsewhere=elsewhere)
    except parts.WorkerDiedError as error:
        raise error.told([file.name], file) from error
    except DataError as error:  # there is no entry yet in which to say it
        raise DataError(error.asked, error.fault, _as_options(error.remedy), file=error.file, row=error.row) from error
    except ConfigError as error:
        raise ConfigError(error.asked, error.found, _as_options(error.remedy)) from error
    return found


def _as_options(remedy: str) -> str:
    """A remedy that names keys of an entry, with the options of this command in their place."""
    options = KEY.sub(lambda key: f"--{key['name']} {key['value'] or 'VALUE'}", remedy)
    return re.sub(r"\b(?:say|set) --", "add --", options)


def _proposed(file: Path, relative: str, given: dict[str, Any], maps: tuple[str, ...]) -> tuple[dict[str, Any], list[SourceRow]]:
    """The entry, as far as the file tells it, and the file's first rows."""
    name, source = given["name"] or _name(file), {"path": relative}
    said = {key: given[key] for key in SAID if given.get(key) is not None}
    how, rows = propose.look(file, name, relative, said | ({"delimiter": "\t"} if said.get("delimiter") in ("tab", "\\t") else {}))
    form = how.get("format", Path(rows[0].file).suffix.lstrip(".").lower())
    if maps:
        try:
            map_ = plain_columns(dict(_pair(word) for word in maps))
        except ValueError as error:
            raise ConfigError("--map FIELD='text with {column}'", str(error), "correct --map") from error
        made = guess.with_kinds({"role": given["role"], "map": map_}, rows)
    else:
        if how.get("records") == layouts.TEXTS and given["role"] is None:
            guess_cells.require_texts(rows)
        made = guess.role_and_map(rows, form, given["role"])
    if made["role"] is None:
        raise ConfigError("a role for the map given", "none", "add --role corpus, tune, preference, eval or general")
    entry = {"name": name, "role": made.pop("role"), "source": source, **how, **made}
    if given.get("holdout") is not None:
        entry["holdout"] = given["holdout"]
    if "records" in made:
        rows = propose.reshaped(file, name, relative, {**how, "records": made["records"]})
    propose.require_mapped(entry, rows)
    if found := propose.choices(file, entry, rows):
        entry["choices"] = [value for value, _ in found.most_common()]
    return entry, rows


def _place(loaded: domain.Domain, file: Path, called: str | None) -> str:
    """Where the file or the folder lies, or will lie, in the domain's folder."""
    folder = loaded.folder
    if not file.is_file() and not file.is_dir():
        raise ConfigError(f"a file {file}", "no such file or folder", "give the path of a file, or of a folder of files")
    if folder.resolve().is_relative_to(file.resolve()):
        raise ConfigError("a folder of data", f"{file}, in which the domain itself lies", "give the folder that holds the data alone")
    if file.resolve().is_relative_to(folder.resolve()):
        return file.resolve().relative_to(folder.resolve()).as_posix()
    target = folder / "data" / file.resolve().name
    if called is not None and places.NAME.fullmatch(called) and _differ(target, file):
        packed = file.suffix.lower().lstrip(".") in files.PACKED_SUFFIXES
        suffixes = [] if file.is_dir() else file.suffixes[-2 if packed else -1 :]
        target = target.with_name(called + "".join(suffixes))  # the name tells the two apart
    if _differ(target, file):
        raise ConfigError(
            f"a place for {file.name} in {folder / 'data'}",
            f"{target.name} is there already, with other content",
            f"if yours is its new version, replace {target} by it, then: slmforge check {loaded.name}; "
            "if it is a second dataset, add --name ANOTHER-NAME, or rename the file",
        )
    return f"data/{target.name}"


def _differ(target: Path, file: Path) -> bool:
    """Whether something else is there already."""
    return target.exists() and _content(target) != _content(file)


def _content(file: Path) -> dict[str, str]:
    return {name: digests.of_file(path) for path, name in propose.files_of(file, "")}


def _require_new(loaded: domain.Domain, name: str) -> None:
    if name in [known.name for known in loaded.card.datasets]:
        raise ConfigError(
            f"a new name for the dataset {name!r}",
            f"given twice: {name} is in {loaded.folder / 'domain.yaml'} already",
            f"if its file has changed in place, there is nothing to add: slmforge check {loaded.name}; "
            "for a second dataset, add --name ANOTHER-NAME",
        )


def _name(file: Path) -> str:
    stem = file.resolve().name.lower().split(".")[0]
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in stem).strip("-")[:63] or "data"


def _pair(word: str) -> tuple[str, str]:
    field, mark, template = word.partition("=")
    if not mark:
        raise ConfigError("a map as FIELD=TEMPLATE", f"{word!r}", 'for instance: --map prompt="{question}"')
    return field, template


def _show(file: Path, entry: dict[str, Any], rows: list[SourceRow], said: str | None) -> None:
    print(f"{file.name}: columns {', '.join(map(repr, propose.all_columns(rows)))}")
    print(f"read as {propose.written(file, entry, rows)}")
    if unused := propose.unused(entry, rows):
        print(f"not used: {', '.join(map(repr, unused))}")
    print(f"\n{entries.text([entry])}")
    for sentence in guess.doubts(entry):
        print(f"{sentence}\n")
    if entry.get("format") == "tsv" and file.suffix.lower() == ".txt":
        print("It looks like a table with tabs between its cells. If it is plain text, take `format: tsv` away.\n")
    if "encoding" in entry:
        print(f"{'You say that' if said else 'Its bytes look as if'} the text is written in {entry['encoding']}; then a line reads:")
        print(f"  {propose.unusual(file, entry) or '(no letter beyond ASCII)'}")
        print("If that is wrong, say --encoding NAME, or save the file as UTF-8.\n")
    if "choices" in entry:
        print(f"The answers are {len(entry['choices'])} values, which come again and again. With `choices:`, any other one is set aside,")
        print("and equal questions with different answers are found. Take them away if answers are free text.\n")


def _show_records(rows: list[SourceRow], records: list[dict[str, Any]], aside: Counter[str]) -> None:
    print(f"Of the first {len(rows)} rows, about {len(records)} can be used, as far as a single row tells{_reasons(aside)}")
    if len(records) * 2 < len(rows):
        print("Most rows would be set aside: the map, the role or the format is probably not right for this file.")
    for record in records[:SHOWN]:
        print(f"\nrow {record['row']}, as the model will see it:")
        for field in TOLD:
            if field == "history" and record.get(field):
                _show_turns(record[field], trained=record["role"] == "tune")
            elif record.get(field):
                print(f"  {field}: {_short(record[field])}")
        if "rating" in record:
            print(f"  rating: {record['rating']:g}")
    for pair in pairs.pairs_of([record for record in records if "rating" in record]).pairs[:1]:
        print(f"\nby these ratings, it learns to say to {_short(pair['prompt'])!r}\n  rather: {_short(pair['chosen'])}")
        print(f"  than: {_short(pair['rejected'])}")
    print()


def _show_answers(several: int, unused: list[str], rows: list[SourceRow]) -> None:
    """What to do where a question has several answers, which would all be learnt."""
    if not several:
        return
    print(
        f"{several:,} {'question has' if several == 1 else 'questions have'} several answers, and all of them would be learnt, bad ones too."
    )
    rated = [name for name in unused if guess.are_numbers(rows, name)]
    print(
        f"If a column rates them (a higher number is better{''.join(f'; {name!r}?' for name in rated)}), map it as rating, role preference:"
    )
    print(f"  {guess.HINTS['preference'].partition(';')[0]}\n")


def _show_turns(history: list[dict[str, str]], *, trained: bool) -> None:
    """Who said what before the prompt."""
    more, shown = chats.latest(history)
    print(f"  history: {len(history)} turns before the prompt{'; every answer in them is trained on too' if trained else ''}")
    if more:
        print(f"    ({more})")
    for turn in shown:
        print(f"    {turn['role']}: {_short(turn['content'])}")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:300] + " …"


def _reasons(aside: Counter[str]) -> str:
    return "".join(f", {n} set aside: {why}" for why, n in aside.items())


def _licence(name: str) -> str:
    return str(
        click.prompt(
            f"Under which licence may the rows be used?\nThis domain allows: {', '.join(domain.load(name).card.licences)}\n"
            "For your own files a word such as proprietary or LicenseRef-NAME will do, if it stands in `licences:` too.\nLicence",
            value_proc=lambda answer: _allowed(answer.strip(), name),
        )
    )


def _allowed(answer: str, name: str) -> str:
    """An answer that the card allows as it is now; it may have been edited meanwhile."""
    loaded = domain.load(name)
    try:
        entries.require_licence(answer, loaded.card.licences, loaded.folder / "domain.yaml")
    except ConfigError as error:
        raise click.BadParameter(f"{error}, then answer again") from error
    return answer


def _kind() -> str:
    return str(click.prompt("Where are the rows from?", type=click.Choice(KINDS)))


def _write(folder: Path, file: Path, relative: str, entry: dict[str, Any]) -> None:
    """Append the entry, comments kept; the card takes its place only if it is a card."""
    card = folder / "domain.yaml"
    made = entries.with_entries(card, [entry])
    if not (folder / relative).exists():
        (folder / "data").mkdir(exist_ok=True)
        _copy(file, folder / relative)
    entries.replace(card, made)


def _copy(file: Path, target: Path) -> None:
    """Copy a file or a folder, which is there only once it is whole."""
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as place:
        made = Path(place) / target.name
        for path, name in propose.files_of(file, str(made)) if file.is_dir() else [(file, str(made))]:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, name)
        made.rename(target)
