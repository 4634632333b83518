"""A causal model writes a question and its answer on a passage: asked, decoded greedily, and read (imports torch)."""

import os
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import set_seed

from tasks.lib import models
from tasks.lib.cleaning import clean
from tasks.lib.packing import Encoder, chat_ids
from tasks.lib.passages import UNWRITABLE

TOKENS = 192  # of one reply
INSTRUCTION = """\
Write one question that the passage below answers, and the answer in the words of the passage. Write these two lines only:
Question: the question
Answer: the answer"""
PASSAGE = "\n\nPassage:\n"
OPENED = "Question:"  # what a model without a chat template goes on from
# labels may be emphasised (**Answer:**), numbered or in a list; what follows the colon is kept, but for the emphasis
LABELLED = re.compile(
    r"^[\s*_#>.\d-]*Question[*_]*\s?:[*_\s]*(?P<question>\S.*?)\s*\n"
    r"[\s*_#>.\d-]*Answer[*_]*\s?:[*_]*\s*(?P<answer>.*?)\s*"
    r"(?=\Z|\n\s*\n|\n[\s*_#>.\d-]*(?:Question|Answer|Passage)[*_]*\s?:)",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)


class Reply(NamedTuple):
    """What a model said, and whether it had come to an end by itself."""

    text: str
    ended: bool


class Author:
    """A model that drafts; the same files and passages give the same replies on the same machine."""

    def __init__(self, files: list[Path], device: str = "auto") -> None:
        """Load a model from admitted files, and from no others that may lie beside them."""
        place = models.device(device)
        with tempfile.TemporaryDirectory(prefix="slmforge-") as name:
            folder = Path(name)
            for file in files:
                os.symlink(file.absolute(), folder / file.name)
            self._tokenizer = models.load_tokenizer(folder, chat=False)
            self._model = models.load(folder, dtype=models.answering(place)).to(place).eval()
        self._room = int(getattr(self._model.config, "max_position_embeddings", 2048)) - TOKENS
        self._encoder = Encoder(self._tokenizer, max(self._room, 1))

    @torch.inference_mode()
    def reply(self, passage: str) -> Reply | None:
        """The model's reply; None where passage and reply do not fit into its window."""
        ids = self._prompt(passage)
        if len(ids) > self._room:
            return None
        set_seed(0)
        asked = torch.tensor([ids], device=self._model.device)
        settings: dict[str, Any] = {"do_sample": False, "num_beams": 1, "max_new_tokens": TOKENS}
        made = self._model.generate(
            input_ids=asked, attention_mask=torch.ones_like(asked), pad_token_id=self._tokenizer.pad_token_id, **settings
        )
        said = made[0, len(ids) :]
        text = str(self._tokenizer.decode(said, skip_special_tokens=True))
        opened = "" if self._tokenizer.chat_template else OPENED
        return Reply(opened + text, ended=len(said) < TOKENS)

    def _prompt(self, passage: str) -> list[int]:
        """A chat with one turn, where the model has a template for it; else plain text that it goes on from."""
        text = f"{INSTRUCTION}{PASSAGE}{self._encoder.harmless(passage)}"
        if self._tokenizer.chat_template:
            return chat_ids(self._tokenizer, [{"role": "user", "content": text}], generation=True)
        ids: list[int] = self._tokenizer.encode(f"{text}\n\n{OPENED}")
        return ids


def parsed(reply: Reply) -> tuple[str, str, bool] | None:
    """(question, answer, cut off?) from two labelled lines, the first such pair; None where there is none.

    An answer ends at a blank line or at another label.
    """
    text = clean(UNWRITABLE.sub("\ufffd", reply.text))
    found = LABELLED.search(text)
    if found is None:
        return None
    question, answer = (" ".join(found[name].split()).strip("*_ ") for name in ("question", "answer"))
    if not question or not answer:
        return None
    return question, answer, not reply.ended and found.end() == len(text)
