"""Options that several commands have."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


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
    return click.option(
        "--flow", type=click.Choice(["adapt", "rlhf", "classify"]), default="adapt", show_default=True, help="Which pipeline."
    )(command)


def for_machines(what: str) -> Callable[[F], F]:
    """The option that prints JSON instead of what people read."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print JSON for machines: {what}.")
