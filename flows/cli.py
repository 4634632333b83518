"""`slmforge …`: the command line; every command imports what it needs when it runs."""

import json
import sys
from typing import Any

import click

from flows import cli_data
from flows.options import for_machines, of_flow, ordered
from tasks.lib.environment import quiet
from tasks.lib.errors import SlmforgeError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
EXIT_CODES = """\b
Exit codes: 0 done · 1 a fault in slmforge · 2 a setting or a command is wrong ·
3 the data are wrong, or differ from their records · 4 a stage or a server failed ·
5 a plan has a blocker"""
DIFFERS, BLOCKED = 3, 5


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


RUN = "stages with state, id, reason and seconds, scores, report, version"
DEPLOYED = "each deployment with domain, cron, first run and work pool"


@click.group(cls=Commands, context_settings=CONTEXT, epilog=EXIT_CODES)
@click.version_option(package_name="slmforge")
def main() -> None:
    """Turn a general small language model into a domain model, again and again, with evidence."""
    quiet()


for command in cli_data.COMMANDS:
    main.add_command(command)


@main.command()
@click.argument("name")
@ordered
@click.option("--over", multiple=True, required=True, metavar="KEY.SUB=[V1,V2]", help="A setting and its values; several are combined.")
@of_flow
@click.option("--until", metavar="STAGE",
              help="The stage whose model is scored, such as tune [the last that --over is about].")  # fmt: skip
@click.option("--by", metavar="SCORE", help="The score that trials are compared by [the domain's first task that they have a score of].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def sweep(name: str, over: tuple[str, ...], flow: str, until: str | None, by: str | None, as_json: bool, **order: Any) -> None:
    """Try combinations of settings and compare their scores. What they have in common is made once."""
    from flows import commands
    from flows import sweep as searching

    searching.sweep(commands.order(name, **order), over, flow, until, by, as_json)


@main.command()
@click.argument("name")
@ordered
@of_flow
@click.option("--batches", type=click.IntRange(1), is_flag=False, flag_value=2, metavar="[N]",
              help="Also show the first N examples of each training, token by token [2], and what is cut.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def plan(name: str, flow: str, as_json: bool, batches: int | None, **order: Any) -> None:
    """Show which stages would run and why, and what blocks them."""
    from flows import commands, planning

    sys.exit(BLOCKED if planning.plan(commands.order(name, **order), flow, as_json, batches) else 0)


@main.command()
@click.argument("name")
@ordered
@for_machines(RUN)
def adapt(name: str, as_json: bool, **order: Any) -> None:
    """Adapt a model to domain NAME: the whole pipeline. What is cached is not done again."""
    from flows import commands

    commands.run(commands.order(name, **order), "adapt", as_json)


@main.command()
@click.argument("name")
@ordered
@for_machines(RUN)
def rlhf(name: str, as_json: bool, **order: Any) -> None:
    """Adapt a model with rewards and reinforcement learning. What is cached is not done again."""
    from flows import commands

    commands.run(commands.order(name, **order), "rlhf", as_json)


@main.command()
@click.argument("name")
@ordered
@for_machines(RUN)
def classify(name: str, as_json: bool, **order: Any) -> None:
    """Make a classifier of domain NAME.

    It is made from an encoder (--config classify) or a decoder; what is cached is not done again.
    """
    from flows import commands

    commands.run(commands.order(name, **order), "classify", as_json)


@main.command()
@click.argument("name")
@ordered
@click.option("--model", metavar="FOLDER|STAGE/ID", help="The model to score [the base of the configuration].")
@for_machines("stages and scores")
def evaluate(name: str, model: str | None, as_json: bool, **order: Any) -> None:
    """Score any model on the suite of domain NAME."""
    from flows import commands

    commands.evaluate(commands.order(name, **order), model, as_json)


@main.command()
@click.argument("name")
@click.argument("stage", required=False, metavar="[STAGE | STAGE/ID]")
@ordered
@click.option("--version", metavar="N", help="As it stands behind this version of the model.")
def show(name: str, stage: str | None, version: str | None, **order: Any) -> None:
    """Show the configuration of domain NAME, or a stage's record.

    The record is that of the last STAGE, of an artifact, or of a version.
    """
    from flows import commands

    if stage is not None and "=" in stage:  # a setting, not a stage
        order["settings"] = (stage, *order["settings"])
        stage = None
    commands.show(commands.order(name, **order), stage, version)


@main.command()
@click.argument("name")
@click.argument("stage")
@ordered
@of_flow
@for_machines("the stages with state, id and reason, and the first one to run")
def why(name: str, stage: str, flow: str, as_json: bool, **order: Any) -> None:
    """Say why a stage is cached or will run: the field that changed."""
    from flows import commands
    from flows import why as saying

    saying.why(commands.order(name, **order), flow, stage, as_json)


@main.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.option("--here", is_flag=True, help="Send what waits for another MLflow to the one that is set now.")
def runs(name: str | None, as_json: bool, here: bool) -> None:
    """List flow runs, and deliver what waits for MLflow. Its runs that were killed are closed."""
    from flows import runs as listing

    listing.runs(name, as_json, here)


@main.command()
@click.argument("name", required=False, metavar="[NAME | STAGE/ID]")
@click.option("--version", metavar="N", help="What stands behind this version of the domain's model [everything].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def verify(name: str | None, version: str | None, as_json: bool) -> None:
    """Compare files with their records. Those of domain NAME, or of one artifact, or all, are read again."""
    from flows import verify as verifying

    sys.exit(0 if verifying.verify(name, version, as_json) else DIFFERS)


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
@for_machines(DEPLOYED)
def deploy(names: tuple[str, ...], **options: Any) -> None:
    """Schedule the retraining of domains NAMES with Prefect. Without a name: of all that have a schedule."""
    from flows import serve

    serve.deploy(names, **options)


@main.command()
@click.argument("what", type=click.Choice(["domain", "config", "expectations"]))
def schema(what: str) -> None:
    """Print a JSON Schema, with which editors complete YAML files."""
    from flows import commands

    click.echo(json.dumps(commands.schema(what), indent=1))


if __name__ == "__main__":
    main()
