"""The rehearsal judges what it sees: a bad release that stays, or a sound one that does not, is a failure."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from lifecycle.errors import run
from rehearsal.life.deploys import Deploy, expect_refusal, format_table, measure
from rehearsal.life.timeline import Timeline
from rehearsal.life.traffic import Answer, Traffic
from rehearsal.releases import CORRUPTED, FAULTS, make_release

SHIPPED = Path(__file__).parents[2] / "src/lifecycle/predictor.py"
BAKED = {"published": 1.0, "canary": 2.0, "rolled_back": 4.0}


def answer(at: float, version: str | None, prediction: float = 10.0, seconds: float = 0.01) -> Answer:
    """Make an answer."""
    return Answer(at, seconds, version, (prediction,), "")


def make_deploy(code: int, **steps: float) -> Deploy:
    """Make a deploy that began at 0 and ended at 5."""
    return Deploy(0.0, steps, "", code, 5.0)


def test_rehearsal_ends_well_when_all_is_as_expected(capsys: pytest.CaptureFixture[str]) -> None:
    timeline = Timeline()
    timeline.expect(True, "never said")

    timeline.close()

    assert "never said" not in capsys.readouterr().out


def test_rehearsal_ends_with_1_when_anything_is_not_as_expected(capsys: pytest.CaptureFixture[str]) -> None:
    timeline = Timeline()

    def rehearse(_argv: object) -> None:
        timeline.expect(False, "a bad release was promoted")
        timeline.expect(True, "fine")
        timeline.close()

    with pytest.raises(SystemExit) as ended:
        run(rehearse)

    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "NOT AS EXPECTED: a bad release was promoted" in said.out
    assert said.err == "RefusedError: 1 not as expected: a bad release was promoted\n"


@pytest.mark.parametrize(
    ("fault", "deploy", "wrong"),
    [
        ("wrong", make_deploy(0, canary=2.0, promoted=4.0), "it was promoted"),
        ("slow", make_deploy(1, published=1.0, rolled_back=2.0), "it was caught before it had traffic"),
        ("slow", make_deploy(1, canary=2.0), "it was not rolled back"),
        ("slow", make_deploy(1, **BAKED), ""),
        (CORRUPTED, make_deploy(0), "it was promoted"),
        (CORRUPTED, make_deploy(1, published=1.0), "it was sent"),
        (CORRUPTED, make_deploy(1), ""),
    ],
)
def test_bad_release_must_be_caught_where_its_fault_shows(fault: str, deploy: Deploy, wrong: str) -> None:
    assert expect_refusal(fault, deploy) == wrong


def test_what_callers_felt_is_counted_from_their_answers() -> None:
    before, after = [answer(1.0, "v1"), answer(1.5, "v1")], [answer(4.5, "v1"), answer(6.0, "v1")]
    baking = [answer(2.5, "v1"), answer(2.75, "v2"), answer(3.0, "v2", 11.0), answer(3.5, "v1")]

    felt = measure(make_deploy(1, **BAKED), Traffic([*before, *baking, *after]), "v2", "wrong", 0.2)

    assert (felt.asked, felt.failed, felt.answers, felt.share) == (7, 0, 2, 0.5)
    assert (felt.first_seconds, felt.fault_seconds) == (2.75, 1.0)


def test_answer_that_fails_or_comes_late_is_a_fault() -> None:
    crashed = [answer(2.5, "v1"), answer(3.0, None)]
    late = [answer(2.5, "v1"), answer(3.0, "v2", seconds=0.4)]

    felt = [
        measure(make_deploy(1, **BAKED), Traffic(answers), "v2", fault, 0.2)
        for answers, fault in ((crashed, "crashing"), (late, "slow"))
    ]

    assert [(one.failed, one.fault_seconds) for one in felt] == [(1, 1.0), (0, 1.0)]


def test_wrong_probabilities_are_a_fault() -> None:
    right, wrong = Answer(2.5, 0.01, "v1", (0.25, 0.75), ""), Answer(3.0, 0.01, "v2", (1.25, 1.75), "")

    felt = measure(make_deploy(1, **BAKED), Traffic([right, wrong]), "v2", "wrong", 0.2)

    assert felt.fault_seconds == 1.0


def test_table_of_releases_fits_on_a_terminal() -> None:
    deploy, traffic = make_deploy(1, **BAKED), Traffic([answer(3.0, "v1.1.1", 11.0) for _ in range(12345)])

    table = format_table([measure(deploy, traffic, "v1.1.1", "crashing", 0.2)])

    assert max(map(len, table.splitlines())) <= 80


def test_long_lines_of_the_timeline_are_folded(capsys: pytest.CaptureFixture[str]) -> None:
    Timeline().say("word " * 40)

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1 and max(map(len, lines)) <= 80


@pytest.mark.parametrize("fault", ["", *FAULTS, CORRUPTED])
def test_release_is_the_bundle_with_its_fault_and_another_name(fault: str, tmp_path: Path) -> None:
    bundle = tmp_path / "built.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"name": "model", "version": "abc"}))
        archive.write(SHIPPED, "lifecycle/predictor.py")
        archive.writestr("lifecycle/__pycache__/predictor.cpython-311.pyc", b"")

    make_release(bundle, tmp_path, "v1.2.0", fault)

    facts = json.loads((tmp_path / "bundle.json").read_text(encoding="utf-8"))
    if fault != CORRUPTED:
        with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
            archive.extractall(tmp_path / "unpacked")
        code = (tmp_path / "unpacked/lifecycle/predictor.py").read_text(encoding="utf-8")
        compiled = (tmp_path / "unpacked/lifecycle/__pycache__/predictor.cpython-311.pyc").read_bytes()
        assert (code != SHIPPED.read_text(encoding="utf-8")) == (compiled != b"") == bool(fault)
    sent = hashlib.sha256((tmp_path / "bundle.zip").read_bytes()).hexdigest()
    assert (sent != facts["sha256"]) == (fault == CORRUPTED)
    assert (facts["name"], facts["version"], facts["changed"]) == ("model", "v1.2.0", False)
