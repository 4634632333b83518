"""What a task's score must beat: the most frequent answer of the training rows, and a network that nothing has trained."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.lib import digests
from tasks.lib.errors import StageError
from tasks.lib.paired import Paired, marks
from tasks.lib.records import iterate
from tasks.lib.score import Baseline, TaskScore, interval
from tasks.lib.suite import Task

Choices = tuple[str, ...]


class Training:
    """How often each answer stands in the training rows of each tune dataset, by the choices that these declare.

    Answers may be long: they are counted by digest, and the most frequent one is read again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._answers: dict[tuple[str, Choices], Counter[bytes]] = {}
        for row in iterate(folder, "tune-train"):
            key = row["dataset"], tuple(row.get("choices") or ())
            self._answers.setdefault(key, Counter())[digest(row["response"])] += 1

    def first(self, answers: Counter[bytes]) -> str:
        """The text of the most frequent answer, of several as frequent the first of the alphabet."""
        most = max(answers.values())
        equal = {answer for answer, count in answers.items() if count == most}
        texts: Iterator[str] = (row["response"] for row in iterate(self._folder, "tune-train"))
        return min(text for text in texts if digest(text) in equal)

    def of(self, task: Task, choices: Choices) -> tuple[list[str], Counter[bytes]]:
        """The datasets that teach a task, and their answers by digest: those it names, or its own, or those of the same kind.

        Its own is the dataset whose rows are held out for it. Of the same kind are those with the same choices or, where
        the answer is written, those without any.
        """
        wanted = task.training or [task.sets[task.test_split].removesuffix("-heldout")]
        found = {key: count for key, count in self._answers.items() if key[0] in wanted}
        if not found and not task.training:
            found = {key: count for key, count in self._answers.items() if sorted(key[1]) == sorted(choices)}
        return sorted({name for name, _ in found}), sum(found.values(), Counter())


def digest(answer: str) -> bytes:
    """The digest by which an answer is counted, 16 bytes."""
    return bytes.fromhex(digests.of_text(answer)[:32])


def beside(
    scores: Iterable[TaskScore], suite: dict[str, dict[str, Any]], training: Training, sets: dict[str, Path], limit: int | None
) -> list[TaskScore]:
    """The scores, each with what always giving the most frequent answer of training scores on the same rows.

    Args:
        scores: of tasks that were run or not.
        suite: task files by file name.
        training: the answers of the training rows.
        sets: evaluation set name -> JSON-lines file.
        limit: rows that were asked of each task.
    """
    tasks = {task.task: task for task in (Task.model_validate(one) for one in suite.values())}
    return [_beside(score, tasks[score.task], training, sets, limit) if score.value is not None else score for score in scores]


def _beside(score: TaskScore, task: Task, training: Training, sets: dict[str, Path], limit: int | None) -> TaskScore:
    with sets[task.sets[task.test_split]].open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:limit]
    if len(rows) != len(score.right):
        raise StageError(f"answers to all {len(rows)} rows of task {task.task}", f"{len(score.right)}", "report it as a fault of slmforge")
    choices = tuple(rows[0].get("choices") or ()) if task.output_type == "multiple_choice" else ()
    names, answers = training.of(task, choices)
    if not answers:
        return score.model_copy(update={"no_baseline": "no training row answers such a question"})
    if max(answers.values()) == 1:
        return score.model_copy(update={"no_baseline": "no two training rows have the same answer"})
    answer = training.first(answers)
    wanted = [row["response"] for row in rows]
    right = _right(task, answer, wanted)
    paired = Paired.of(score.right, marks(right))
    low, high = interval(right)
    made = Baseline(
        answer=answer, share=round(answers[digest(answer)] / answers.total(), 6), rows=answers.total(), datasets=names,
        unseen=sorted(one for one in set(wanted) if digest(one) not in answers) if choices else [], n=len(right), value=round(sum(right) / len(right), 6),
        low=low, high=high, paired=paired,
    )  # fmt: skip
    return score.model_copy(update={"baseline": made})


def _right(task: Task, answer: str, wanted: Sequence[str]) -> list[float]:
    """Whether that answer is right for each row, as the task's own metric compares; filters are for what a model writes."""
    if task.output_type == "multiple_choice":
        return [float(answer == one) for one in wanted]
    from tasks.lib import scoring

    return [scoring.equal(task.metric, answer, one) for one in wanted]


def random_weights(network: Any) -> Any:
    """A network of the same architecture with weights as before any training, always the same; no other draw changes."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        made: Any = type(network)(network.config)
    return made.to(device=network.device, dtype=network.dtype).eval()
