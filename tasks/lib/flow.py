"""`@flow`: a page of stage calls that can be planned, run here, or run by Prefect."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from tasks.lib import base_source, config, domain, places, sources
from tasks.lib.config import Declared
from tasks.lib.domain import Domain, Edition, Expectations, Role
from tasks.lib.errors import ConfigError, SlmforgeError
from tasks.lib.mixing import Weights
from tasks.lib.plan import Planner
from tasks.lib.rewards import Rewards
from tasks.lib.sources import Sources
from tasks.lib.stage import RUNNER, Runner


class WithBase(Declared):
    """A flow's configuration: at least the base model that it starts from."""

    base: Any


C = TypeVar("C", bound=WithBase)


@dataclass(frozen=True)
class Job(Generic[C]):
    """What a flow is given: a domain, its resolved sources, and the whole configuration."""

    domain: Domain
    sources: Sources
    base: base_source.BaseSource
    cfg: C

    @property
    def expectations(self) -> Expectations:
        """What is expected of the data of this edition."""
        return self.domain.expected(self.sources.edition)

    @property
    def rewards(self) -> Rewards:
        """The rewards of this edition."""
        return self.domain.rewards(self.sources.edition)

    def weights(self, *roles: Role) -> Weights:
        """The weights of the datasets with these roles."""
        chosen = (resolved.dataset for resolved in self.sources.datasets if resolved.dataset.role in roles)
        return Weights(of={dataset.name: dataset.weight for dataset in chosen if dataset.weight != 1})


@dataclass(frozen=True)
class Order:
    """What a person asked for: names and settings only, so that it travels as JSON."""

    domain: str
    config: str | None = None
    settings: tuple[str, ...] = ()
    edition: Edition | None = None
    mirror: str | None = None

    def parameters(self) -> dict[str, Any]:
        """As the parameters of a Prefect flow."""
        return {
            "domain": self.domain,
            "config": self.config,
            "settings": list(self.settings),
            "edition": self.edition,
            "mirror": self.mirror,
        }


class Flow(Generic[C]):
    """A declared flow."""

    def __init__(self, fn: Callable[[Job[C]], Any], config_type: type[C], only_if_changed: bool) -> None:
        self.fn, self.config_type, self.only_if_changed = fn, config_type, only_if_changed
        self.name = fn.__name__
        self.doc = fn.__doc__ or ""

    def job(self, order: Order) -> Job[C]:
        """Read and check everything that a person wrote, before any work.

        Raises:
            ConfigError, DataError: naming the key, the file, or every dataset that is wrong.
        """
        job, faults = self.sketch(order)
        if faults:
            raise sources.refusal(job.domain, job.sources, faults)
        return job

    def sketch(self, order: Order) -> tuple[Job[C], list[SlmforgeError]]:
        """The job with what there is of its data, and why the rest cannot be read: enough for a plan, not for a run.

        Raises:
            ConfigError, DataError: naming the key or the base model that is wrong.
        """
        card = domain.load(order.domain)
        values: dict[str, Any] = card.card.config
        said = [f"`config:` of {card.folder / 'domain.yaml'}"]
        if order.config is not None:
            file = places.config_file(order.config)
            written = config.read_yaml(file) or {}
            if not isinstance(written, dict):
                raise ConfigError(f"configuration {file}", "no mapping at the top", "write `stage:` and its settings")
            values = config.merge(values, written)
            said.append(str(file))
        if order.settings:
            values = config.merge(values, config.parse_overrides(list(order.settings)))
            said.append("the command line")
        cfg = config.build(self.config_type, values, f"configuration from {', '.join(said)}")
        edition: Edition = order.edition or ("full" if order.mirror else "starter")
        mirror = None if order.mirror is None else Path(order.mirror)
        base = base_source.resolve(cfg.base.source)
        found, faults = sources.look(card, edition, mirror)
        return Job(card, found, base, cfg), faults

    def plan(self, job: Job[C]) -> Planner:
        """What would run, and why."""
        planner = Planner(job.domain.name)
        self.under(planner, job)
        return planner

    def under(self, runner: Runner, job: Job[C]) -> Any:
        """Run the page with `runner` answering its stage calls."""
        token = RUNNER.set(runner)
        try:
            return self.fn(job)
        finally:
            RUNNER.reset(token)

    @cached_property
    def prefect(self) -> Any:
        """The Prefect flow of this page (imports Prefect)."""
        from tasks.lib import orchestrate

        return orchestrate.prefect_flow(self)


def flow(config_type: type[C], *, only_if_changed: bool = False) -> Callable[[Callable[[Job[C]], Any]], Flow[C]]:
    """Declare a page of stage calls as a flow with this configuration.

    Args:
        config_type: what may be configured.
        only_if_changed: end at once, and say so, when every stage is cached.
    """
    return lambda fn: Flow(fn, config_type, only_if_changed)
