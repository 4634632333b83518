"""What the shipped evaluation tasks of published data take for right."""

import pytest

from tasks.lib import domain
from tasks.lib.scoring import equal
from tasks.lib.suite import Task

DIPEPTIDE = "The molecule is a dipeptide that is glycine, in which one hydrogen is replaced. It is a conjugate base of something."
ANSWERS = [
    ("chemistry", "chebi", "The molecule is a dipeptide.", DIPEPTIDE, 1),
    ("chemistry", "chebi", "The molecule is a dipeptide obtained by formal condensation", DIPEPTIDE, 1),
    ("chemistry", "chebi", "The molecule is a tripeptide.", DIPEPTIDE, 0),
    ("chemistry", "chebi", "The molecule is a 1,2-diacyl-sn-glycerol", "The molecule is a 1,2-diacyl-sn-glycerol, where both are", 1),
    ("chemistry", "chebi", "The molecule is a 1,3-diacyl-sn-glycerol", "The molecule is a 1,2-diacyl-sn-glycerol, where both are", 0),
    ("chemistry", "solubility", "-2.31", "-2.90", 1),
    ("chemistry", "solubility", "-3.00", "-2.90", 0),
    ("chemistry", "solubility", "2.31", "-2.31", 0),
    ("chemistry", "solubility", "it dissolves", "-2.31", 0),
]


@pytest.mark.parametrize(("name", "task", "answer", "wanted", "right"), ANSWERS)
def test_an_answer_is_compared_by_what_the_card_says(name: str, task: str, answer: str, wanted: str, right: int) -> None:
    found = Task.model_validate(domain.load(name).suite.tasks[task])
    assert equal(found.metric, answer, wanted) == right
