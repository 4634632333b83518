"""`slmforge …`: the command line; every command imports what it needs when it runs."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from tasks.lib.environment import quiet
from tasks.lib.errors import SlmforgeError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
EXIT_CODES = """\b
Exit codes: 0 done · 1 a fault in slmforge · 2 a setting or a command is wrong ·
3 the data are wrong · 4 a stage or a server failed · 5 a plan has a blocker"""
BLOCKED = 5


class Commands(click.Group):
    """Turns errors that a person can act on into a message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except SlmforgeError as error:
            click.secho("error", fg="red", bold=True, err=True)
            click.echo(f"  wanted: {error}", err=True)
            ctx.exit(error.exit_code)


def ordered(command: Any) -> Any:
    """The options by which every flow is ordered."""
    for decorate in (
        click.argument("settings", nargs=-1, metavar="[KEY.SUB=VALUE]..."),
        click.option("--config", metavar="FILE", help="A YAML file, or the name of one below configs/."),
        click.option("--edition", type=click.Choice(["starter", "full"]), help="Which datasets [starter; full with --mirror]."),
        click.option("--mirror", metavar="DIR", envvar="SLMFORGE_MIRROR", help="A folder that holds published files, found by sha256."),
    ):
        command = decorate(command)
    return command


def of_flow(command: Any) -> Any:
    """The option that says which pipeline is meant."""
    return click.option("--flow", type=click.Choice(["adapt", "rlhf"]), default="adapt", show_default=True, help="Which pipeline.")(command)


@click.group(cls=Commands, context_settings=CONTEXT, epilog=EXIT_CODES)
@click.version_option(package_name="slmforge")
def main() -> None:
    """Turn a general small language model into a domain model, again and again, with evidence."""
    quiet()


@main.command()
@click.argument("name")
def new(name: str) -> None:
    """Make a domain folder NAME to fill in."""
    from flows import commands

    commands.new(name)


@main.command()
@click.argument("name")
@click.argument("file")
@click.option("--name", "called", metavar="DATASET", help="What to call the dataset [the file's name].")
@click.option("--role", type=click.Choice(["corpus", "tune", "preference", "eval", "general"]), help="What it is for [proposed].")
@click.option("--licence", help="SPDX id of the licence, one that the domain allows.")
@click.option("--kind", type=click.Choice(["public", "licensed", "scraped", "user", "synthetic"]), help="Where the rows are from.")
@click.option("--encoding", metavar="NAME", help="How the text is written, for instance cp1252 [told from the bytes].")
@click.option("--map", "maps", multiple=True, metavar="FIELD=TEMPLATE", help="A field and its template, in place of the proposed map.")
@click.option("--yes", "agreed", is_flag=True, help="Write the proposal without asking.")
def add(name: str, file: str, called: str | None, maps: tuple[str, ...], agreed: bool, **given: str | None) -> None:
    """Look at FILE, propose how it is read, and write its entry into the card of domain NAME."""
    from flows import add as adding

    adding.add(name, Path(file), {"name": called, **given}, maps, agreed)


@main.command()
@click.argument("name")
@ordered
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def check(name: str, as_json: bool, **order: Any) -> None:
    """Read, judge, clean and split the data of domain NAME; show what became of every row."""
    from flows import checking, commands

    checking.check(commands.order(name, **order), as_json)


@main.command()
@click.argument("name")
@ordered
@click.option(
    "--set-aside", "reason", is_flag=False, flag_value="all", metavar="[REASON]", help="Rows that are not used, of one reason or all."
)
@click.option("--dataset", help="Of this dataset alone.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many are shown.")
@click.option("--csv", "out", metavar="FILE", help="Write all of them to a CSV file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def rows(name: str, reason: str | None, dataset: str | None, limit: int, out: str | None, as_json: bool, **order: Any) -> None:
    """Look at the rows of domain NAME: what the model will see, or what was set aside and why."""
    from flows import commands
    from flows import rows as looking

    looking.rows(commands.order(name, **order), reason, dataset, limit, out, as_json)


@main.command()
@click.argument("name")
@click.argument("dataset")
@ordered
@click.option("--model", required=True, metavar="FOLDER|STAGE/ID", help="The model that drafts.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Ask about so many passages at most.")
@click.option("--per-document", type=click.IntRange(1), metavar="K", help="So many passages of one document at most.")
@click.option("--out", metavar="FILE.xlsx|FILE.csv", help="The sheet, a new file [NAME-DATASET-drafts.xlsx].")
def draft(name: str, dataset: str, model: str, limit: int, per_document: int | None, out: str | None, **order: Any) -> None:
    """Let a local model draft questions and answers from a corpus DATASET of domain NAME, as a sheet for an expert."""
    from flows import commands
    from flows import draft as drafting

    drafting.draft(commands.order(name, **order), dataset, model, limit, per_document, out)


@main.command()
@click.argument("name")
@click.argument("sheet")
@click.option("--reviewer", required=True, metavar="PERSON", help="Who has filled in the sheet.")
@click.option("--yes", "agreed", is_flag=True, help="Write without asking.")
def review(name: str, sheet: str, reviewer: str, agreed: bool) -> None:
    """Check a SHEET of drafts that an expert has filled in, and make data of domain NAME of it."""
    from flows import review as reviewing

    reviewing.review(name, Path(sheet), reviewer, agreed)


@main.command()
@click.argument("name")
@ordered
@click.option("--by", "who", required=True, metavar="NAME", help="Who accepts the data.")
@click.option("--why", required=True, metavar="REASON", help="Why they are as they should be.")
def accept(name: str, who: str, why: str, **order: Any) -> None:
    """Accept the data of domain NAME as they are now: drift is measured against this snapshot."""
    from flows import accept as accepting
    from flows import commands

    accepting.accept(commands.order(name, **order), who, why)


@main.command()
@click.argument("name")
@ordered
@of_flow
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def plan(name: str, flow: str, as_json: bool, **order: Any) -> None:
    """Show every stage as cached or to run, with the reason, and every blocker."""
    from flows import commands

    sys.exit(BLOCKED if commands.plan(commands.order(name, **order), flow, as_json) else 0)


@main.command()
@click.argument("name")
@ordered
def adapt(name: str, **order: Any) -> None:
    """Adapt a model to domain NAME: the whole pipeline; what is cached is not done again."""
    from flows import commands

    commands.run(commands.order(name, **order), "adapt")


@main.command()
@click.argument("name")
@ordered
def rlhf(name: str, **order: Any) -> None:
    """Adapt a model to domain NAME with a reward model and reinforcement learning; what is cached is not done again."""
    from flows import commands

    commands.run(commands.order(name, **order), "rlhf")


@main.command()
@click.argument("name")
@ordered
@click.option("--model", metavar="FOLDER|STAGE/ID", help="The model to score [the base of the configuration].")
def evaluate(name: str, model: str | None, **order: Any) -> None:
    """Score any model on the suite of domain NAME."""
    from flows import commands

    commands.evaluate(commands.order(name, **order), model)


@main.command()
@click.argument("name")
@click.argument("stage", required=False)
@ordered
def show(name: str, stage: str | None, **order: Any) -> None:
    """Show the resolved configuration of domain NAME, or the record of the last STAGE."""
    from flows import commands

    if stage is not None and "=" in stage:  # a setting, not a stage
        order["settings"] = (stage, *order["settings"])
        stage = None
    commands.show(commands.order(name, **order), stage)


@main.command()
@click.argument("name")
@click.argument("stage")
@ordered
@of_flow
def why(name: str, stage: str, flow: str, **order: Any) -> None:
    """Say why STAGE of domain NAME is cached or will run: the field that changed."""
    from flows import commands

    commands.why(commands.order(name, **order), flow, stage)


@main.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def runs(name: str | None, as_json: bool) -> None:
    """List flow runs, deliver what waits for MLflow, and close its runs that were killed."""
    from flows import commands

    commands.runs(name, as_json)


@main.command()
@click.option("--once", is_flag=True, help="Start, print the addresses, check that they answer, and stop.")
def ui(once: bool) -> None:
    """Start MLflow's and Prefect's screens and print their addresses."""
    from flows import serve

    serve.ui(once)


@main.command()
@click.argument("names", nargs=-1)
@click.option("--config", metavar="FILE", help="A YAML file, or the name of one below configs/.")
@click.option("--edition", type=click.Choice(["starter", "full"]), help="Which datasets.")
@click.option("--mirror", metavar="DIR", envvar="SLMFORGE_MIRROR", help="A folder that holds published files.")
@click.option("--cron", metavar="CRON", help="Instead of the card's schedule.")
def deploy(names: tuple[str, ...], **options: Any) -> None:
    """Register the scheduled retraining of domains NAMES (all that have a schedule) with Prefect."""
    from flows import serve

    serve.deploy(names, **options)


@main.command()
@click.argument("what", type=click.Choice(["domain", "config", "expectations"]))
def schema(what: str) -> None:
    """Print a JSON Schema, so that editors complete and check the YAML."""
    from flows import commands

    click.echo(json.dumps(commands.schema(what), indent=1))


if __name__ == "__main__":
    main()
