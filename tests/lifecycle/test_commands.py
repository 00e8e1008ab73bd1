"""Every command of the machinery: it says how it is called, and what for."""

import runpy
import sys

import pytest
from conftest import ROOT

FOLDER = ROOT / "src"
# Those that take arguments; the others are called by name alone.
COMMANDS = [
    ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    for path in sorted((FOLDER / "lifecycle").rglob("*.py"))
    if "    run(main)\n" in (content := path.read_text(encoding="utf-8")) and "ArgumentParser" in content
]


@pytest.mark.parametrize("command", COMMANDS)
# It is imported by others as well, and runs once more under its own name.
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_command_says_how_it_is_called(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    monkeypatch.setenv("COLUMNS", "80")

    with pytest.raises(SystemExit) as ended:
        runpy.run_module(command, run_name="__main__")

    usage, purpose, *_ = capsys.readouterr().out.split("\n\n")
    assert ended.value.code == 0
    assert usage.startswith(f"usage: python -m {command} ")
    assert purpose.endswith(".")
