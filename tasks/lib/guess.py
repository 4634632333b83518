"""What a table seems to be for: a role and a map, guessed from the names of its columns and its first rows."""

import re
import unicodedata
from collections.abc import Callable
from string import Formatter
from typing import Any

from tasks.lib import chats, guess_cells, nested
from tasks.lib.domain import Role
from tasks.lib.errors import ConfigError
from tasks.lib.rows import SourceRow

UNNAMEABLE = frozenset("{}:!")  # signs that mean something in a map
DOCUMENTS = ("md", "html", "pdf", "docx", "txt")
# names of columns in German, French and Spanish, without accents, and what they are in English
ENGLISH = {
    "frage": "question", "pregunta": "question", "antwort": "answer", "reponse": "answer", "respuesta": "answer",
    "anweisung": "instruction", "instruccion": "instruction", "texte": "text", "texto": "text", "inhalt": "content", "contenu": "content",
    "contenido": "content", "etiquette": "label", "etiqueta": "label", "kategorie": "category", "categorie": "category",
    "categoria": "category", "klasse": "class", "classe": "class", "clase": "class", "kontext": "context", "contexte": "context",
    "contexto": "context", "zusammenfassung": "summary", "resumen": "summary", "besser": "better",
    "schlechter": "worse", "bewertung": "rating", "valoracion": "rating", "calificacion": "rating",
    "puntuacion": "rating", "punktzahl": "score", "punkte": "points", "sterne": "stars", "etoiles": "stars", "estrellas": "stars",
}  # fmt: skip
TEXT = ("text", "content", "body", "document", "passage", "abstract", "article", "note", "paragraph")
PROMPT = ("prompt", "question", "instruction", "query", "q", "input", "dialogue", "utterance", "sentence", "message", "questions", "text")
ASKED = ("question", "prompt", "instruction", "query")  # what a name of two words may begin with
OF_IT = ("id", "ids", "type", "num", "number", "date", "source", "url", "length")  # what is said of a question, and is none
CONVERSATION = ("messages", "conversations", "conversation", "turns", "dialog", "chat")
SPOKEN, REPORT = (
    ("dialogue", "conversation", "transcript"),
    ("section_text", "note", "report", "summary"),
)  # a talk and what is written of it
# what a question is asked about, in the order in which it is shown
CONTEXT = ("context", "contexts", "passage", "background", "pre_text", "table", "post_text", "paragraphs")
RESPONSE = ("response", "answer", "answers", "output", "completion", "a", "target", "reply", "summary")
LABEL = ("label", "category", "class", "intent", "tag", "sentiment", "topic")
BETTER, WORSE = ("chosen", "better", "preferred", "winner_text"), ("rejected", "worse", "loser_text")
RATING = ("rating", "ratings", "score", "scores", "judgment", "judgement", "grade", "stars")
NUMBERED = (
    "points",
    "mark",
    "marks",
    "quality",
    "evaluation",
    "nota",
)  # ratings only where the cells are numbers; in a German `Note`, 1 is best
BRACKETS = re.compile(r"[(\[{<][^)\]}>]*[)\]}>]")
SCALE = re.compile(
    r"(_(in|of|out|from|to|von|bis|sur|de|a|max|min|points?|percent|pct|\d+))*_\d+(_(points?|stars?|sterne|punkte))?$|_(in_)?(percent|pct)$"
)
SMILES = ("smiles", "canonical_smiles", "molecule")
GROUP = ("group", "patient_id", "patient", "case", "case_id", "document_id", "company", "issuer", "qid", "pmid")
PAIR = '--role {} --map prompt="{{column}}" --map response="{{other column}}"'
HINTS = {
    "tune": PAIR.format("tune"),
    "eval": PAIR.format("eval"),
    "corpus": '--role corpus --map text="{column}"',
    "general": '--role general --map text="{column}"',
    "preference": '--role preference --map prompt="{column}" --map answer="{other column}" --map rating="{column of numbers}"; '
    'or --role preference --map prompt="{column}" --map chosen="{better answer}" --map rejected="{worse answer}"',
}
Entry = dict[str, Any]


def role_and_map(rows: list[SourceRow], form: str, asked: Role | None) -> Entry:
    """A role and a map for columns like these.

    Raises:
        ConfigError: if the columns look like nothing that is known, or not like the role that was asked for.
    """
    columns = list(rows[0].columns)
    known = {key: _path(name, rows) for key, name in zip(_keys(columns), columns, strict=True)}
    for role, make in MAKERS:
        wanted = asked in (None, role) or (asked == "eval" and role == "tune") or (asked == "general" and role == "corpus")
        if wanted and (made := make(known, rows, form)) is not None:
            if "prompt" in made["map"] and (group := _one(known, GROUP)) is not None:
                made["map"]["group"] = f"{{{group}}}"
            return with_kinds({"role": asked or role, **made}, rows)
    raise ConfigError(
        f"columns that look like {'role ' + asked if asked else 'a corpus, questions with answers, or preferences'}",
        f"the columns {', '.join(map(repr, columns))}",
        _hint(known, rows, asked or "tune"),
    )


def _hint(known: dict[str, str], rows: list[SourceRow], role: str) -> str:
    """What to say; of molecules with several measured properties, for one of them."""
    smiles = next((name for name in known.values() if guess_cells.are_molecules(rows, name)), None)
    others = [] if smiles is None or role not in ("tune", "eval") else _properties(known, smiles)
    if not others:
        return f"say what they are, for instance: {HINTS[role]}"
    maps = f'--role {role} --map prompt="What is the {others[0]} of {{{smiles}}}?" --map response="{{{others[0]}}}"'
    return f"say which of the {len(others)} properties is asked for, for instance: {maps}"


def with_kinds(made: Entry, rows: list[SourceRow]) -> Entry:
    """A role and a map, with `columns:` for what it maps of molecules and of whole objects.

    Raises:
        ConfigError: for a column that no map can name.
    """
    for name in rows[0].columns if rows else ():
        if UNNAMEABLE.intersection(name) and any(f"{{{name}}}" in template for template in made["map"].values()):
            raise ConfigError("columns that a map can name", f"{name!r}", f"rename the column, without {' '.join(sorted(UNNAMEABLE))}")
    used = {name for template in made["map"].values() for _, name, _, _ in Formatter().parse(template) if name}
    given = made.get("columns", {})
    kinds = {name: "smiles" for name in sorted(used) if name not in given and guess_cells.are_molecules(rows, name)}
    kinds |= {
        name: "json" for name in sorted(used) if name not in given and "messages" not in made["map"] and guess_cells.are_objects(rows, name)
    }
    return {**made, "columns": {**given, **kinds}} if kinds else made


def doubts(entry: Entry) -> list[str]:
    """What of a proposal is a guess that only the rows can confirm, a sentence each."""
    told = [
        f"{name!r} holds objects: each is written as JSON, whole. To take a part, map {{{name}.part}} in its place."
        for name, kind in entry.get("columns", {}).items()
        if kind == "json"
    ]
    if "rating" in entry["map"]:
        turned = " ".join(f'--map {field}="{"-" if field == "rating" else ""}{of}"' for field, of in entry["map"].items())
        how = "turn the numbers of `values:` round" if entry.get("values") else f"add --role preference {turned}"
        told.append(f"A higher number of {entry['map']['rating']} is taken for the better answer. If 1 is best, as in school, {how}.")
    if "winner" in entry["map"]:
        sides = " and ".join(f"{value!r} means {entry['map'][side]}" for value, side in next(iter(entry["values"].values())).items())
        told.append(f"That {sides} is a guess: look at some rows, and turn `values:` round if it is not so.")
    return told


def _keys(columns: list[str]) -> list[str]:
    """What columns are called, without case, brackets, scale and units; in full where two would be called the same."""
    plain = [_english(BRACKETS.sub(" ", name)) for name in columns]
    return [
        key if key and plain.count(key) == 1 else name.strip().lower().replace(" ", "_") for key, name in zip(plain, columns, strict=True)
    ]


def _english(name: str) -> str:
    """Words in small letters with underlines between; one of three other languages becomes the English one."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(letter))
    key = re.sub(r"[^\w.@]+", "_", bare.replace("%", " percent ")).strip("_")
    key = SCALE.sub("", key) if _is_rated(SCALE.sub("", key)) else key
    return "_".join(ENGLISH.get(word, word) for word in key.split("_"))


def _is_rated(key: str) -> bool:
    last = key.rpartition("_")[2]
    return ENGLISH.get(last, last) in (*RATING, *NUMBERED)


def are_numbers(rows: list[SourceRow], name: str) -> bool:
    """Whether what stands in a column is numbers, wherever something does."""
    cells = [str(cell).strip() for row in rows if (cell := row.columns.get(name)) is not None and str(cell).strip()]
    return bool(cells) and all(re.fullmatch(r"[+-]?\d+([.,]\d+)?", cell) for cell in cells)


def _path(name: str, rows: list[SourceRow]) -> str:
    """A column as the map names it: where it holds objects, the part of them that seems to be the text."""
    if guess_cells.are_objects(rows, name):
        return name
    first = next((value for row in rows if (value := row.columns.get(name)) is not None), None)
    path = None if chats.looks_like(first) else nested.path_into(first, name)
    return name if path is None else path


def _one(known: dict[str, str], names: tuple[str, ...]) -> str | None:
    """The first column that has one of these names, or ends with one."""
    for name in names:
        if name in known:
            return known[name]
    return next((known[key] for name in names if len(name) > 2 for key in known if key.endswith(f"_{name}")), None)


def _conversation(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    name = _one(known, CONVERSATION)
    return {"map": {"messages": f"{{{name}}}"}} if name and chats.looks_like(rows[0].columns.get(name)) else None


def _question(known: dict[str, str]) -> str | None:
    """A column that holds a question, also one such as `question_summary`."""
    found = (name for word in ASKED for key, name in known.items() if key.startswith(f"{word}_") and key.split("_")[-1] not in OF_IT)
    exact = _one({key: name for key, name in known.items() if key != "text"}, PROMPT)
    return exact or next(found, None) or known.get("text")


def _compared(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    """Two columns that are two sides, and what says which one was chosen."""
    names = list(known.values())
    pair, chosen = guess_cells.sides(names), guess_cells.comparison(rows, names)
    if pair is None or chosen is None:
        return None
    asked = _question({key: name for key, name in known.items() if name not in pair})
    prompt = f"{{{asked}}}" if asked else f"Which is better, {{{pair[0]}}} or {{{pair[1]}}}?"
    winner = chosen.pop("winner")
    return {**chosen, "map": {"prompt": prompt, "a": f"{{{pair[0]}}}", "b": f"{{{pair[1]}}}", "winner": f"{{{winner}}}"}}


def _preference(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    prompt, better, worse = _question(known), _one(known, BETTER), _one(known, WORSE)
    if prompt and better and worse:
        return {"map": {"prompt": f"{{{prompt}}}", "chosen": f"{{{better}}}", "rejected": f"{{{worse}}}"}}
    counted = {key: name for key, name in known.items() if are_numbers(rows, name)}
    answer, rating = _one(known, RESPONSE), _one(known, RATING) or _one(counted, NUMBERED)
    if prompt and answer and rating and prompt != answer:
        graded = guess_cells.grades(rows, rating)
        return {
            **({} if graded is None else {"values": {rating: graded}}),
            "map": {"prompt": f"{{{prompt}}}", "answer": f"{{{answer}}}", "rating": f"{{{rating}}}"},
        }
    return None


def _documents(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    return {"map": {"text": "{text}"}} if form in DOCUMENTS else None


def _molecule(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    """A table of molecules and one number or label each becomes a question on the molecule."""
    smiles = _one(known, SMILES)
    if smiles is None:
        return None
    others = _properties(known, smiles)
    target = others[0] if len(others) == 1 else guess_cells.measured({key: name for key, name in known.items() if name in others})
    if target is None or (len(others) > 1 and {*known} & {*PROMPT} and {*known} & {*RESPONSE}):
        return None
    return {
        "columns": {smiles: "smiles", target: "text"},
        "map": {"prompt": f"What is the {target} of {{{smiles}}}?", "response": f"{{{target}}}"},
    }


def _properties(known: dict[str, str], smiles: str) -> list[str]:
    """Columns that may be asked for of a molecule."""
    return [name for name in known.values() if name != smiles and not name.lower().endswith(("id", "name", "num", "iupac"))]


def _exchange(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    spoken = _one(known, SPOKEN)
    prompt = _question({key: name for key, name in known.items() if key not in CONTEXT}) if spoken is None else spoken
    rest = {key: name for key, name in known.items() if name != prompt and key not in CONTEXT}
    response = _one(rest, (*RESPONSE, *LABEL) if spoken is None else (*RESPONSE, *REPORT))
    if prompt is None or response is None:
        return None
    text = known.get("text")
    read = ("text", *CONTEXT) if text and text not in (prompt, response) and guess_cells.values(rows, text) else CONTEXT
    asked = [known[key] for key in read if key in known and spoken is None]
    asked += [prompt, *(known[key] for key in ("input",) if known.get("instruction") == prompt and key in known)]  # as in Alpaca
    return {"map": {"prompt": "\n\n".join(f"{{{name}}}" for name in asked), "response": f"{{{response}}}"}}


def _corpus(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    text = _one(known, TEXT)
    if text is None and len(known) == 1:
        text = next(iter(known.values()))
    return None if text is None else {"map": {"text": f"{{{text}}}"}}


MAKERS: tuple[tuple[Role, Callable[[dict[str, str], list[SourceRow], str], Entry | None]], ...] = (
    ("tune", _conversation),
    ("preference", _compared),
    ("preference", _preference),
    ("corpus", _documents),
    ("tune", _molecule),
    ("tune", _exchange),
    ("corpus", _corpus),
)  # the first that fits
