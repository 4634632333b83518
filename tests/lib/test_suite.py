"""A task file is data: what could run code, read or write elsewhere, go unscored or fail after training is refused at load."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes
from ruamel.yaml import YAML

from tasks.lib import domain, places, suite
from tasks.lib.config import read_yaml
from tasks.lib.errors import ConfigError
from tests.conftest import TASK, Run

POPEN = "{{ cycler.__init__.__globals__.os.popen('touch canary').read() }}"
GENERATED = """\
task: colour
dataset_path: json
dataset_kwargs: {data_files: {test: colours-heldout.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{response}}"
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
Refusal = Callable[..., ConfigError]


@pytest.fixture
def refused(toy: Path, workplace: Path) -> Refusal:
    """Load the toy with one key of its task changed; what it is refused with."""

    def load(key: str, value: Any, base: str = TASK) -> ConfigError:
        task = YAML(typ="safe", pure=True).load(base)
        *outer, last = key.split(".")
        place = task
        for part in outer:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
        file = toy / "eval" / "colour.yaml"
        with file.open("w") as stream:
            YAML(typ="safe", pure=True).dump(task, stream)
        with pytest.raises(ConfigError) as caught:
            domain.load("toy")
        assert caught.value.remedy
        assert "colour.yaml" in caught.value.asked
        return caught.value

    return load


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (places.CHECKOUT / "domains").glob("*/domain.yaml")))
def test_every_task_that_we_ship_is_admitted_as_it_is_written(name: str) -> None:
    found = domain.load(name)
    files = sorted((found.folder / "eval").iterdir())
    assert files
    assert found.suite.tasks == {file.stem: read_yaml(file) for file in files}


# what could run code


@pytest.mark.parametrize("key", ["doc_to_text", "doc_to_choice", "doc_to_target", "description"])
@pytest.mark.parametrize(
    "template",
    [
        POPEN,
        "{{prompt}}{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for x in range(99999999) %}{{prompt}}{% endfor %}",
        "{{prompt.__class__}}",
        "{{prompt|upper}}",
        "{{prompt * 99999999}}",
        "{{{prompt}}}",
        "{{prompt}} {{",
        "{{prompt}}{# hidden #}",
        "{{-prompt-}}",
        "{{prompt}}{%- raw %}",
        "{{cycler}}",
    ],
)
def test_a_template_that_is_a_program_is_refused(key: str, template: str, refused: Refusal, workplace: Path) -> None:
    assert key in refused(key, template).found
    assert not (workplace / "canary").exists()


def test_what_is_admitted_is_to_jinja_only_text_and_names() -> None:
    admitted = [
        "{{prompt}}",
        "Q: {{ prompt }}\nA:",
        "a { b } c }} %} {{prompt}} {",
        "{{\nprompt\n}} {{choices}}",
        "prompt",
        "{ {{prompt}} }",
    ]
    for template in admitted:
        task = suite.Task.model_validate(
            {**YAML(typ="safe", pure=True).load(GENERATED), "doc_to_text": template}
        )  # what is checked when a domain is loaded
        parsed = jinja2.Environment().parse(task.doc_to_text)
        kinds = {type(node) for node in parsed.find_all(nodes.Node)}
        assert kinds <= {nodes.Output, nodes.TemplateData, nodes.Name}
        names = [node.name for node in parsed.find_all(nodes.Name)] or [template]
        assert names == suite.fields(template)
        assert set(names) <= {"prompt", "choices"}


@pytest.mark.parametrize(
    "key", ["include", "process_docs", "process_results", "class", "group", "custom_dataset", "use_prompt", "unsafe_code"]
)
def test_a_key_that_reaches_code_or_other_files_is_refused_by_name(key: str, refused: Refusal) -> None:
    assert key in refused(key, "/tmp/other.yml").found


def test_a_function_of_a_file_is_refused(toy: Path) -> None:
    file = toy / "eval" / "colour.yaml"
    file.write_text(TASK + "process_docs: !function evil.run\n")
    with pytest.raises(ConfigError, match="tag"):
        domain.load("toy")


@pytest.mark.parametrize("key", ["dataset_kwargs.trust_remote_code", "metric_list.0.hf_evaluate", "generation_kwargs"])
def test_settings_that_libraries_would_run_are_refused(key: str, refused: Refusal) -> None:
    if key == "generation_kwargs":
        assert "custom_generate" in refused(key, {"custom_generate": "someone/code"}, GENERATED).found
        return
    assert key.rsplit(".", 1)[-1] in refused(key, True).found


def test_an_unknown_key_is_refused_with_the_nearest_known_one(refused: Refusal) -> None:
    error = refused("doc_to_txt", "{{prompt}}")
    assert "doc_to_txt: unknown key" in error.found
    assert "'doc_to_text'" in error.remedy


@pytest.mark.parametrize("name", ["/srv/configs/demo", "../x", "a/b", "a b", "", ".", "a\n", "-", ["a"], "colour.yaml"])
def test_a_name_that_could_be_a_path_is_refused(name: Any, refused: Refusal) -> None:
    assert "task" in refused("task", name).found


# what would read something else, or nothing


@pytest.mark.parametrize("file", ["/etc/passwd", "../colours-heldout.jsonl", "colours-heldout.json", "https://x.org/a.jsonl", ["a.jsonl"]])
def test_data_that_are_no_evaluation_set_are_refused(file: Any, refused: Refusal) -> None:
    assert "data_files" in refused("dataset_kwargs.data_files.test", file).found


@pytest.mark.parametrize("path", ["parquet", "someone/data", "/tmp/loader.py"])
def test_data_from_elsewhere_are_refused(path: str, refused: Refusal) -> None:
    assert "dataset_path" in refused("dataset_path", path).found


def test_a_set_that_no_dataset_makes_is_refused_with_the_nearest_one(refused: Refusal) -> None:
    error = refused("dataset_kwargs.data_files.test", "colour-heldout.jsonl")
    assert "colour-heldout.jsonl" in error.found
    assert "colours-heldout.jsonl" in error.remedy


def test_a_task_with_choices_over_rows_without_is_refused(toy: Path) -> None:
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("    choices: [red, blue]\n", ""))
    with pytest.raises(ConfigError, match="have no choices"):
        domain.load("toy")


def test_two_files_with_one_name_are_refused_by_both_names(toy: Path) -> None:
    (toy / "eval" / "copy.yaml").write_text(TASK)
    with pytest.raises(ConfigError) as caught:
        domain.load("toy")
    assert all(part in caught.value.found for part in ("task: colour", "colour.yaml", "copy.yaml"))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("eval/more.yml", "eval/more.yaml"),
        ("eval/more.YAML", "eval/more.yaml"),
        ("eval/deep/more.yaml", "eval/more.yaml"),
        ("expectations.yml", "expectations.yaml"),
    ],
)
def test_a_file_that_would_not_be_read_is_refused_with_its_right_name(wrong: str, right: str, toy: Path) -> None:
    (toy / wrong).parent.mkdir(exist_ok=True)
    (toy / wrong).write_text(TASK)
    with pytest.raises(ConfigError) as caught:
        domain.load("toy")
    assert wrong in caught.value.found
    assert right in caught.value.remedy


def test_other_files_beside_the_tasks_are_left_alone(toy: Path) -> None:
    (toy / "eval" / "README.md").write_text("what is measured")
    assert list(domain.load("toy").suite.tasks) == ["colour"]


# what would fail, or say something else than it seems to, after training

MISFITS: list[tuple[str, Any, str, str]] = [
    *(("metric_list.0.metric", name, TASK, "metric") for name in ("f1", "mcc", "brier_score", "likelihood", "perplexity", "./code")),
    *(("metric_list.0.metric", name, GENERATED, "metric") for name in ("bleu", "chrf", "acc", "f1")),
    ("metric_list.0.metric", "exact_match", TASK, "metric_list"),
    ("metric_list.0.aggregation", "f1", TASK, "aggregation"),
    ("metric_list.0.aggregation", "median", GENERATED, "aggregation"),
    ("metric_list.0.higher_is_better", False, TASK, "higher_is_better"),
    ("metric_list", [], TASK, "metric_list"),
    ("metric_list", [{"metric": "acc"}, {"metric": "acc_norm"}], TASK, "metric_list"),
    ("output_type", "loglikelihood", TASK, "output_type"),
    ("output_type", "loglikelihood_rolling", TASK, "output_type"),
    ("test_split", "valid", TASK, "test_split"),
    ("doc_to_text", "promt", TASK, "names no field"),
    ("doc_to_text", "{{prompt}} {{label}}", TASK, "doc_to_text"),
    ("doc_to_text", "response", TASK, "doc_to_text"),
    ("doc_to_text", "{{prompt}}" * 2_000, TASK, "doc_to_text"),
    ("doc_to_text", 3, TASK, "doc_to_text"),
    ("doc_to_choice", ["yes", "no"], TASK, "doc_to_choice"),
    ("doc_to_choice", "{{choices}} ", TASK, "doc_to_choice"),
    ("doc_to_choice", None, TASK, "doc_to_choice"),
    ("doc_to_target", "it is {{label}}", TASK, "doc_to_target"),
    ("doc_to_target", "{{label}}", GENERATED, "doc_to_target"),
    ("doc_to_choice", "{{choices}}", GENERATED, "doc_to_choice"),
    ("num_fewshot", 2, TASK, "num_fewshot"),
    ("dataset_kwargs.data_files.dev", "colours-heldout.jsonl", TASK, "data_files"),
    ("generation_kwargs", {"max_gen_toks": 4}, TASK, "generation_kwargs"),
    ("generation_kwargs", {"do_sample": True}, GENERATED, "do_sample"),
    ("generation_kwargs", {"temperature": 0.7}, GENERATED, "temperature"),
    ("generation_kwargs", {"max_gen_toks": 0}, GENERATED, "max_gen_toks"),
    ("filter_list", [{"name": "f", "filter": [{"function": "custom", "filter_fn": "x"}]}], GENERATED, "filter_list"),
    ("filter_list", [{"name": "f", "filter": [{"function": "lowercase"}]}], GENERATED, "take_first"),
    ("filter_list", [{"name": "f", "filter": [{"function": "regex", "regex_pattern": "("}]}], GENERATED, "regex_pattern"),
    ("filter_list", [{"name": "f", "filter": [{"function": "take_first"}]}], TASK, "filter_list"),
]


@pytest.mark.parametrize(("key", "value", "base", "said"), MISFITS)
def test_a_task_that_could_not_be_scored_is_refused_at_load(key: str, value: Any, base: str, said: str, refused: Refusal) -> None:
    error = refused(key, value, base)
    assert said in f"{error.asked} {error.found}"


@pytest.mark.parametrize("text", ["", "[]", "3", "task"])
def test_a_file_that_is_no_mapping_is_refused(text: str, toy: Path) -> None:
    (toy / "eval" / "colour.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"colour\.yaml"):
        domain.load("toy")


@pytest.mark.parametrize("command", ["plan", "check"])
def test_plan_and_check_refuse_before_anything_is_done(command: str, toy: Path, cli: Run, workplace: Path) -> None:
    (toy / "eval" / "colour.yaml").write_text(TASK.replace('"{{prompt}}"', f'"{POPEN}"'))
    done = cli(command, "toy")
    assert done.returncode == 2, done.stderr
    assert "colour.yaml" in done.stderr
    assert "doc_to_text" in done.stderr
    assert not (workplace / "canary").exists()
    assert not (workplace / "runs" / "artifacts").exists()
