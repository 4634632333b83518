"""Commands of those who bring data; every one imports what it needs when it runs."""

from pathlib import Path
from typing import Any

import click

from flows.options import ordered


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Make a domain folder NAME to fill in."""
    from flows import commands

    commands.new(name)


@click.command()
@click.argument("name")
@click.argument("file")
@click.option("--name", "called", metavar="DATASET", help="What to call the dataset [the file's name].")
@click.option("--role", type=click.Choice(["corpus", "tune", "preference", "eval", "general"]), help="What it is for [proposed].")
@click.option("--licence", help="SPDX id of the licence, one that the domain allows.")
@click.option("--kind", type=click.Choice(["public", "licensed", "scraped", "user", "synthetic"]), help="Where the rows are from.")
@click.option("--encoding", metavar="NAME", help="How the text is written, for instance cp1252 [told from the bytes].")
@click.option("--delimiter", metavar="CHARACTER", help="What stands between cells of CSV, or the word tab [told from the file].")
@click.option("--header", type=click.IntRange(1), metavar="N", help="The row with the names of the columns [the first that is filled].")
@click.option("--sheet", metavar="NAME", help="Which sheet of a workbook [the only one with rows].")
@click.option("--records", metavar="JQ", help="Where the rows of a JSON document are, or which elements of XML are rows [proposed].")
@click.option("--holdout", type=click.IntRange(1), metavar="N", help="Keep N rows for evaluation; for the role tune [none].")
@click.option("--broken", type=click.Choice(["set-aside"]), help="What becomes of rows of JSONL, CSV or TSV that cannot be read [refused].")
@click.option("--map", "maps", multiple=True, metavar="FIELD=TEMPLATE", help="A field and its template, in place of the proposed map.")
@click.option("--yes", "agreed", is_flag=True, help="Write the proposal without asking.")
def add(name: str, file: str, called: str | None, maps: tuple[str, ...], agreed: bool, **given: Any) -> None:
    """Add a FILE or a folder of files to domain NAME.

    It is looked at, how it is read is proposed, and its entry is written into the domain's card.
    """
    from flows import add as adding

    adding.add(name, Path(file), {"name": called, **given}, maps, agreed)


@click.command()
@click.argument("name")
@ordered
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def check(name: str, as_json: bool, **order: Any) -> None:
    """Check the data of domain NAME, and say what became of every row."""
    from flows import checking, commands

    checking.check(commands.order(name, **order), as_json)


@click.command()
@click.argument("name")
@click.argument("artifact", required=False, metavar="[STAGE/ID]")
@ordered
@click.option("--version", metavar="N", help="The rows that stand behind this version of the model.")
@click.option(
    "--set-aside", "reason", is_flag=False, flag_value="all", metavar="[REASON]", help="Rows that are not used, of one reason or all."
)
@click.option("--dataset", help="Of this dataset alone.")
@click.option("--id", "identifier", metavar="ID", help="The one row with this id, in full.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many are shown.")
@click.option("--csv", "out", metavar="FILE", help="Write all of them to a CSV file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def rows(name: str, artifact: str | None, version: str | None, identifier: str | None, **given: Any) -> None:
    """Show rows of domain NAME that are used, or set aside. They are those of now, or of an older artifact."""
    from flows import commands
    from flows import rows as looking

    order = {key: given.pop(key) for key in ("settings", "config", "edition", "mirror")}
    if artifact is not None and "=" in artifact:  # a setting, not an artifact
        order["settings"] = (artifact, *order["settings"])
        artifact = None
    folders = looking.folders(commands.order(name, **order), artifact, version)
    if identifier is None:
        looking.rows(folders, **given)
    else:
        looking.one(folders, identifier, given["as_json"])


@click.command()
@click.argument("name")
@click.argument("dataset")
@ordered
@click.option("--model", required=True, metavar="FOLDER|STAGE/ID", help="The model that drafts.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Ask about so many passages at most.")
@click.option("--per-document", type=click.IntRange(1), metavar="K", help="So many passages of one document at most.")
@click.option("--out", metavar="FILE.xlsx|FILE.csv", help="The sheet, a new file [NAME-DATASET-drafts.xlsx].")
def draft(name: str, dataset: str, model: str, limit: int, per_document: int | None, out: str | None, **order: Any) -> None:
    """Draft questions and answers with a local model, for an expert.

    They are drawn from a corpus DATASET of domain NAME and written to a sheet.
    """
    from flows import commands
    from flows import draft as drafting

    drafting.draft(commands.order(name, **order), dataset, model, limit, per_document, out)


@click.command()
@click.argument("name")
@click.argument("sheet")
@click.option("--reviewer", required=True, metavar="PERSON", help="Who has filled in the sheet.")
@click.option("--yes", "agreed", is_flag=True, help="Write without asking.")
def review(name: str, sheet: str, reviewer: str, agreed: bool) -> None:
    """Make data of domain NAME from a SHEET that an expert filled in."""
    from flows import review as reviewing

    reviewing.review(name, Path(sheet), reviewer, agreed)


@click.command()
@click.argument("name")
@ordered
@click.option("--by", "who", required=True, metavar="NAME", help="Who accepts the data.")
@click.option("--why", required=True, metavar="REASON", help="Why they are as they should be.")
def accept(name: str, who: str, why: str, **order: Any) -> None:
    """Accept the data of domain NAME as they are now. Drift is measured against this snapshot."""
    from flows import accept as accepting
    from flows import commands

    accepting.accept(commands.order(name, **order), who, why)


COMMANDS = (new, add, check, rows, draft, review, accept)
