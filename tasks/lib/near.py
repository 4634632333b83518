"""Near-duplicate documents by MinHash and locality-sensitive hashing (the importer of rensa)."""

from rensa import RMinHash, RMinHashLSH

PERMUTATIONS, BANDS = 128, 16
SEED = 42


class NearDuplicates:
    """Finds the first earlier document whose estimated Jaccard similarity reaches a threshold.

    MinHash over word shingles (Broder, 1997) with 16 bands of 8 rows, then the estimate itself, so
    that a mere collision of one band sets nothing aside.
    """

    def __init__(self, threshold: float, shingle: int) -> None:
        self._threshold, self._shingle = threshold, shingle
        self._index = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=BANDS)
        self._sketches: list[RMinHash] = []
        self._ids: list[str] = []

    def first_like(self, identifier: str, text: str) -> str | None:
        """The id of the first kept document like `text`; if there is none, `text` is kept."""
        words = text.casefold().split()
        last = max(1, len(words) - self._shingle + 1)
        sketch = RMinHash(num_perm=PERMUTATIONS, seed=SEED)
        sketch.update([" ".join(words[i : i + self._shingle]) for i in range(last)])
        for candidate in sorted(self._index.query(sketch)):
            if sketch.jaccard(self._sketches[candidate]) >= self._threshold:
                return str(self._ids[candidate])
        self._index.insert(len(self._ids), sketch)
        self._ids.append(identifier)
        self._sketches.append(sketch)
        return None
