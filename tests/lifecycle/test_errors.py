"""What a person sees of an error, and the exit code."""

import pytest

from lifecycle.errors import ContractError, MisuseError, ParityError, SourceError, run


def raise_error(error):
    """Make a command that fails."""

    def main(_argv):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContractError("size is 7"), 1),
        (SourceError("no month"), 1),
        (ParityError("too far"), 1),
        (MisuseError("no such key"), 2),
    ],
)
def test_expected_error_is_one_line_and_its_exit_code(error, code, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        run(raise_error(error))

    assert ended.value.code == code
    assert capsys.readouterr().err == f"{type(error).__name__}: {error}\n"


def test_interrupted_command_ends_without_a_traceback(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        run(raise_error(KeyboardInterrupt()))

    assert ended.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_exit_code_is_what_the_command_returns(returned, code) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda _argv: returned)

    assert ended.value.code == code


def test_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(raise_error(ZeroDivisionError()))
