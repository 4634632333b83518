"""A model as lm-evaluation-harness asks it, with our bar over the requests (an importer of lm_eval, beside `scoring`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import CacheHook
from lm_eval.models.huggingface import HFLM

from tasks.lib import progress


class Asked(HFLM):
    """The harness's model; its own bars would be muted with the rest of what it says."""

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Log-likelihood of each request's continuation, and whether it is the likeliest."""
        with self._shown(requests):
            found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The text that follows each request."""
        with self._shown(requests):
            found: list[str] = super().generate_until(requests, disable_tqdm=True)
        return found

    @contextmanager
    def _shown(self, requests: list[Instance]) -> Iterator[None]:
        """A bar named after the tasks, for as long as their requests are answered."""
        names = dict.fromkeys(str(request.task_name) for request in requests)
        with progress.Bar(f"ask {', '.join(names)}", len(requests), " requests") as bar:
            self.set_cache_hook(_Answered(bar))
            yield
            self.set_cache_hook(CacheHook(None))


class _Answered(CacheHook):
    """The harness tells its cache of every answer; nothing is cached here, only counted."""

    def __init__(self, bar: progress.Bar) -> None:
        super().__init__(None)
        self._bar = bar

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        """One answer more."""
        self._bar.advance(1)
