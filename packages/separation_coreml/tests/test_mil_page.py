"""The page about the interpreter is the one that its table gives."""

from pathlib import Path

from separation_coreml.mil.listing import TITLES, operations_page
from separation_coreml.mil.ops import OPERATIONS

PAGE = Path(__file__).parents[3] / "docs" / "separation_coreml_mil.md"


def test_the_page_lists_what_the_interpreter_runs():
    assert {entry.group for entry in OPERATIONS.values()} == set(TITLES)
    assert all(f"`{kind}`" in operations_page() for kind in OPERATIONS)
    assert PAGE.read_text(encoding="utf-8") == operations_page(), (
        "python -m separation_coreml.mil > docs/separation_coreml_mil.md"
    )
