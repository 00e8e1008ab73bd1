"""The parts of a Markdown page stay in their places."""

from lifecycle.views.markdown import format_table


def test_table_keeps_a_cell_in_its_place() -> None:
    assert format_table("lr", ["a", "b"], [["x|y", "1\n2"]]) == "| a | b |\n| :-- | --: |\n| x\\|y | 1 2 |"
