"""The flows as Prefect finds them: the entrypoints of deployments and of `prefect` commands."""

from flows.adapt import adapt as adapt_page
from flows.evaluate import evaluate as evaluate_page
from flows.prepare import prepare as prepare_page
from flows.retrain import retrain as retrain_page
from tasks.lib.environment import keep_heap, quiet

quiet()
keep_heap()
adapt = adapt_page.prefect
evaluate = evaluate_page.prefect
prepare = prepare_page.prefect
retrain = retrain_page.prefect
