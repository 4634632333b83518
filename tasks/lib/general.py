"""General text: which documents are kept out of every training, here and in the scratch base alike."""

from tasks.lib import digests
from tasks.lib.cleaning import clean

HELDOUT = 0.1  # share; not a setting, because a cached base and a new split must agree on it


def is_heldout(text: str) -> bool:
    """Whether a document of general text is for measuring forgetting only (by the digest of its clean text)."""
    return int(digests.of_text(clean(text))[:8], 16) < HELDOUT * 2**32
