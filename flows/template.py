"""The folder that `slmforge new` makes."""

from pathlib import Path

from tasks.lib import places
from tasks.lib.domain import PLACEHOLDERS
from tasks.lib.errors import ConfigError

CARD = """\
# What this domain is. Check it with: slmforge check {name}
purpose: {purpose}
excluded_uses: []
owner: {owner}
risk: low                       # low | medium | high
licences: [CC0-1.0, CC-BY-4.0, MIT, PSF-2.0]   # a dataset under any other licence is refused;
                                # for your own files add a word such as proprietary, or LicenseRef-NAME
# schedule: "0 3 * * 1"         # retrain Mondays at 03:00, see `slmforge deploy`

datasets:
  - name: python-topics         # general text, so that the model does not forget plain English
    role: general
    source: {{builtin: pydoc-topics}}
    licence: PSF-2.0
    kind: public
    map: {{text: "{{text}}"}}
# `slmforge add {name} FILE` looks at a file and writes an entry such as these. A model needs one of each:
# - name: documents             # text to learn the domain's language from
#   role: corpus
#   source: {{path: data/documents.jsonl}}
#   licence: CC0-1.0
#   kind: user                  # public | licensed | scraped | user | synthetic
#   map: {{text: "{{text}}"}}
# - name: questions             # what to answer, and how
#   role: tune
#   source: {{path: data/questions.csv}}
#   licence: CC0-1.0
#   kind: user
#   map: {{prompt: "{{question}}", response: "{{answer}}"}}
#   holdout: 20                 # rows kept back to measure with (evaluation set questions-heldout)
# - name: preferences           # of two answers, which one is better
#   role: preference
#   source: {{path: data/preferences.csv}}
#   licence: CC0-1.0
#   kind: user
#   map: {{prompt: "{{question}}", chosen: "{{better}}", rejected: "{{worse}}"}}
"""
EXPECTATIONS = """\
# What must hold of the data, under Great Expectations' own names, by role.
packs: []                       # more of them by subject: text, healthcare, finance, chemistry
tune:
  # rows without an answer are set aside in any case; with `severity: critical`, more than 1 % of them would stop the pipeline
  - expect_column_values_to_not_be_null: {column: response, mostly: 0.99, severity: warning}
"""
README = """\
# {name}

What the data are, where they come from, what they must not be used for.

Add files with `slmforge add {name} FILE`, then run `slmforge check {name}`.

To measure on questions that are kept back: give the dataset `holdout: 20` in `domain.yaml`, and make `eval/answers.yaml`:

```yaml
task: {task}_answers
dataset_path: json
dataset_kwargs: {{data_files: {{test: questions-heldout.jsonl}}}}   # the dataset's name and -heldout
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{response}}}}"
generation_kwargs: {{max_gen_toks: 32, until: ["\\n"]}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}}]
metadata: {{version: 1}}
```
"""


def write(name: str) -> Path:
    """Make domains/<name> in the working directory.

    Raises:
        ConfigError: if the name is no plain one, or something is there already.
    """
    folder = Path.cwd() / "domains" / name
    if not places.NAME.fullmatch(name):
        raise ConfigError(f"a new domain {name!r}", "a name that is not lower-case letters, digits and hyphens", "choose another name")
    if places.RESERVED.fullmatch(name):
        raise ConfigError(f"a new domain {name!r}", "a name that Windows keeps for a device", "choose another name")
    if folder.exists():
        raise ConfigError(f"a new domain {name!r}", f"{folder} exists", "choose another name, or edit that folder")
    (folder / "data").mkdir(parents=True)
    (folder / "eval").mkdir()
    (folder / "domain.yaml").write_text(CARD.format(name=name, **PLACEHOLDERS), encoding="utf-8")
    (folder / "expectations.yaml").write_text(EXPECTATIONS, encoding="utf-8")
    (folder / "README.md").write_text(README.format(name=name, task=name.replace("-", "_")), encoding="utf-8")
    return folder
