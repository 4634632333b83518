"""The scheduled door: has anything changed? Then adapt; else end at once and say so."""

from flows.adapt import AdaptConfig, adapt
from tasks.lib.flow import Job, flow
from tasks.report import Page


@flow(AdaptConfig, only_if_changed=True)
def retrain(job: Job[AdaptConfig]) -> Page:
    """Adapt the domain again if its data, its settings or a stage have changed."""
    page: Page = adapt.fn(job)
    return page
