"""Cells that a spreadsheet would run as formulas (OWASP, CSV injection), written as text and read back as they were."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would run


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; `meant` undoes it."""
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA) else cell


def meant(cell: str) -> str:
    """The text that `harmless` was given; text that it would not have written comes back unchanged."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell
