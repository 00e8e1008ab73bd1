"""The status page tells what tags, reports and GitHub say, obeys none of it, and looks right in a real browser."""

import json
import os
import re
import subprocess
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from hosting import use_github
from readings import PARAMS
from repositories import copy_repository, git
from tools import require_tool

import rehearsal.github_settings  # noqa: F401  pylint: disable=unused-import
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.github.history import main as download
from lifecycle.registry import list_versions, read_events
from lifecycle.status import list_promotions, main, read_reports
from lifecycle.views.status_facts import MonitorReport
from lifecycle.views.status_plot import list_days
from rehearsal.github import zip_files

PAGE = Path("out/status.html")
METRIC = "some_error"
EVIL = "<script>alert(1)</script>[x](//evil.example)|`<img src=//evil.example>"
# Says what overflows in a frame as wide as a phone, in words that the dumped page holds.
HARNESS = """<!doctype html><title>harness</title><iframe src="status.html" width="360" height="3000"></iframe>
<pre></pre><script>
document.querySelector("iframe").onload = (event) => {
  const page = event.target.contentDocument, loaded = event.target.contentWindow.performance;
  const seen = [...page.querySelectorAll("body *")].filter((one) => one.getClientRects().length);
  const wide = seen.filter((one) => !one.closest("table") && one.getBoundingClientRect().right > 360);
  const found = {width: page.documentElement.scrollWidth, wide: wide.map((one) => one.outerHTML.slice(0, 80)),
    shown: seen.length, loaded: loaded.getEntriesByType("resource").map((one) => one.name)};
  document.querySelector("pre").textContent = JSON.stringify(found);
};
</script>"""


@pytest.fixture(name="repository")
def enter_repository(tmp_path_factory, tmp_path, monkeypatch):
    """Start in a copy of the repository, without a login at GitHub."""
    folder = copy_repository(tmp_path_factory, tmp_path / "repository")
    monkeypatch.chdir(folder)
    for name in ("GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"registry": {"name": "model"}}), encoding="utf-8")
    return folder


@pytest.fixture(name="history")
def fill_registry(repository, monkeypatch):
    """Promote a first version, a second one, and the first one again; the tags' times run backwards."""
    tags = [("model@v1.0.0", "HEAD~1"), ("model@v1.1.0", "HEAD"), ("model#production#1", "HEAD~1")]
    tags += [("model#production#2", "HEAD"), ("model#production#3", "HEAD~1")]
    for day, (tag, revision) in zip((9, 10, 20, 19, 18), tags, strict=True):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2024-12-{day:02d}T23:30:00-0200")
        git("tag", "--annotate", "--message", tag, tag, revision)
    return repository


def make_report(day, version="v1.0.0", **changes):
    """Make a monitor's report as of noon of a day of December, with the seven days before it."""
    until = datetime(2024, 12, day, 12)
    days = [(until - timedelta(days=back)).date().isoformat() for back in range(7, 0, -1)]
    report = {
        "verdict": "ok",
        "reasons": [],
        "until": until.isoformat(),
        "window": {"days": 7},
        "metric": METRIC,
        "versions": [
            {
                "version": version,
                "judged": True,
                "variant": "champion",
                "metrics": {METRIC: {"value": 0.55, "low": 0.5, "high": 0.6, "tested": 0.5}},
                "days": [{"day": name, "value": 0.5 + place / 100} for place, name in enumerate(days)],
            }
        ],
        "drift": [
            {"name": "size", "distance": 0.01 * day, "distance_noise": 0.02, "psi": 0.1, "drifted": day > 20},
            {"name": "weight", "distance": 0.001, "distance_noise": 0.02, "psi": 0.0, "drifted": False},
        ],
    }
    return report | changes


def write_reports(folder, *reports):
    """Write reports into a folder, the newest one under the first name."""
    folder.mkdir(exist_ok=True)
    for place, report in enumerate(reversed(reports)):
        (folder / f"{place}.json").write_text(json.dumps(report), encoding="utf-8")
    return folder


def read_page(*arguments):
    """Make the page and read it, with the words of its text alone beside it."""
    main(list(arguments))
    page = PAGE.read_text(encoding="utf-8")
    text = unescape(re.sub(r"<style>.*?</style>|</?(?!code|strong)[^>]*>", " ", page, flags=re.S))
    return page, " ".join(re.sub(r"</?code>|</?strong>|\u2060", "", text).split())


@pytest.mark.usefixtures("repository")
def test_parts_of_which_nothing_is_known_say_how_to_get_it():
    page, text = read_page()

    assert text.count("none is promoted") == 1
    for said in (
        "No version is registered yet. To make one: python -m lifecycle.registry register",
        "No version was promoted yet.",
        "There is no report of the monitor yet. make monitor writes out/monitor.json",
        "Proposals to retrain are read from GitHub: set GH_TOKEN, and GITHUB_REPOSITORY=owner/name",
    ):
        assert said in text
    assert "<svg" not in page


@pytest.mark.usefixtures("repository")
def test_repository_without_a_model_has_no_champion():
    git("rm", "--quiet", "dvc.lock")
    git("commit", "--quiet", "--message", "Lose the model")

    _, text = read_page()

    assert "Champion none no model is registered or committed yet" in text


@pytest.mark.usefixtures("history")
def test_live_error_without_one_of_the_test_is_compared_with_nothing(tmp_path):
    report = make_report(12, drift=[])
    report["versions"][0]["metrics"][METRIC]["tested"] = None

    _, text = read_page("--monitor", str(write_reports(tmp_path / "reports", report)))

    assert "Live: some error 0.5500 v1.0.0, interval 0.5000 to 0.6000 Monitor" in text
    assert "The last report measured no drift: it had too few predictions." in text


@pytest.mark.usefixtures("history")
def test_promotions_follow_their_numbers_and_going_back_is_a_rollback():
    promotions = list_promotions(read_events("model"), list_versions("model"))

    assert [(one.version, one.is_rollback, f"{one.date:%d %H:%M}") for one in promotions] == [
        ("v1.0.0", False, "21 01:30"),
        ("v1.1.0", False, "20 01:30"),
        ("v1.0.0", True, "19 01:30"),
    ]


def test_page_shows_champion_errors_verdict_and_history(history, tmp_path):
    reasons = ["size drifted: 0.25", "weight drifted"]
    reports = make_report(12, "v1.1.0"), make_report(21, verdict="drift", reasons=reasons)
    # Written, and not committed: what was tested stands in the commit of the version.
    (history / "out/metrics.json").write_text("{}", encoding="utf-8")

    page, text = read_page("--monitor", str(write_reports(tmp_path / "reports", *reports)))

    for said in (
        "Champion v1.0.0 since 2024-12-19 01:30 UTC",
        "Tested: some error 0.5000",
        "Live: some error 0.5500 v1.0.0, interval 0.5000 to 0.6000; 10 % worse than tested",
        "Monitor drift 2024-12-21 12:00 UTC: size drifted: 0.25 (and 1 more)",
        "Last rollback to v1.0.0 2024-12-19 01:30 UTC, by Ada",
        "2024-12-19 01:30 rolled back to v1.0.0 0.500 – Ada 2024-12-20 01:30 released v1.1.0 1.500",
        "v1.0.0 champion 0.500 – 2024-12-10 01:30 Ada",
        "v1.1.0 – 1.500 – 2024-12-11 01:30 Ada",
        "size 0.210 ⚠ 0.120 0.020 0.100",
    ):
        assert said in text
    assert "ada@example.com" not in page
    assert page.count("<svg") == 2


def test_later_report_knows_more_of_a_day_and_other_metrics_are_left_out():
    first, second, other = make_report(12), make_report(13), make_report(11, metric="r2_score")
    first["versions"][0]["days"][-1]["value"] = 9.0
    second["versions"][0]["days"][0]["value"] = None
    reports = [MonitorReport.model_validate(report) for report in (other, first, second)]

    rows = list_days(reports)

    assert [f"{row['start']:%d}" for row in rows] == [f"{day:02d}" for day in range(5, 13)]
    assert [row["value"] for row in rows] == [0.5, 0.51, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56]


def test_broken_report_is_told_and_costs_only_itself(history, tmp_path):
    folder = write_reports(tmp_path / "reports", make_report(12))
    (folder / "a.json").write_text("{", encoding="utf-8")
    (folder / "b.json").write_text(json.dumps(make_report(13, until="soon")), encoding="utf-8")
    (folder / "c.json").write_text(json.dumps(make_report(13)).replace("0.55", "NaN"), encoding="utf-8")
    (folder / "d.json").write_bytes(b" " * 1_000_001)
    (folder / "f.json").write_text(json.dumps(make_report(13, until="0001-01-01T00:00+14:00")), encoding="utf-8")
    (folder / "g.json").write_text("[" * 100_000, encoding="utf-8")
    (folder / "e.json").symlink_to(history / "away")

    _, text = read_page("--monitor", str(folder))

    assert "Live: some error 0.5500" in text
    for said in (
        "a.json is refused: it is no JSON",
        "b.json is refused: until is soon",
        "c.json is refused: it is no JSON: it holds NaN",
    ):
        assert said in text
    assert "f.json is refused: until is" in text and "g.json is refused: it is nested too deeply" in text
    assert "d.json is refused: it has more than 1,000,000 bytes" in text
    assert "e.json is missing, or no regular file" in text


def test_newest_reports_are_kept(tmp_path):
    folder = write_reports(tmp_path / "reports", *(make_report(day) for day in (9, 10, 11)))

    reports, left_out = read_reports(folder, 2)

    assert [report.until.day for report in reports] == [10, 11]
    assert not left_out


@pytest.mark.usefixtures("history")
def test_folder_that_is_not_there_is_misuse_and_the_former_page_stays(tmp_path):
    PAGE.write_text("the former page", encoding="utf-8")

    with pytest.raises(MisuseError, match="nowhere is no folder; name one that holds the monitor's reports"):
        main(["--monitor", str(tmp_path / "nowhere")])

    assert PAGE.read_text(encoding="utf-8") == "the former page"


@pytest.mark.usefixtures("history")
def test_version_without_figures_does_not_break_the_page():
    Path("out/metrics.json").write_text("[1]", encoding="utf-8")
    git("commit", "--quiet", "--all", "--message", "Break the figures")
    git("tag", "--annotate", "--message", "x", "model@v1.2.0")
    git("tag", "--annotate", "--message", "x", "model#production#4")

    _, text = read_page()

    assert "Champion v1.2.0" in text
    assert "no figures are committed with the champion" in text


def test_tag_without_a_date_costs_the_promotions_alone(history):
    commit = git("rev-parse", "HEAD")
    for tag in ("model@v1.2.0", "model#production#4"):
        # As tools before Git 0.99 wrote it, and by hand anybody may.
        written = f"object {commit}\ntype commit\ntag {tag}\n\nx\n"
        command = ["git", "hash-object", "-t", "tag", "-w", "--literally", "--stdin"]
        name = subprocess.run(command, cwd=history, input=written, capture_output=True, text=True, check=True).stdout
        git("update-ref", f"refs/tags/{tag}", name.strip())

    _, text = read_page()

    assert "the tag #production#4 has no date that can be read" in text
    assert "v1.0.0 – 0.500 – 2024-12-10 01:30 Ada" in text


def make_pull(number, **changes):
    """Make a pull request as GitHub lists it."""
    repo = {"full_name": "team/model", "owner": {"login": "team"}}
    pull = {"number": number, "title": f"Retrain {number}", "state": "closed", "merged_at": None, "labels": []}
    pull |= {"created_at": f"2024-12-{number:02d}T10:00:00Z", "head": {"ref": f"b{number}", "repo": repo}}
    return pull | changes


@pytest.fixture(name="github")
def serve_repository(tmp_path, monkeypatch):
    """Serve a GitHub on loopback to this process."""
    with use_github(monkeypatch, tmp_path) as repository:
        yield repository


@pytest.mark.usefixtures("history")
def test_retrainings_are_the_pull_requests_with_the_label(github):
    label = [{"name": "retrain"}]
    github.pulls += [
        make_pull(9, labels=label, state="open", title=EVIL),
        make_pull(8),
        make_pull(7, labels=label, merged_at="2024-12-08T10:00:00Z"),
        make_pull(6, labels=label),
    ]

    page, text = read_page()

    assert "Last retraining #9 open, 2024-12-09 10:00 UTC: " in text
    assert "#7 Retrain 7 merged" in text
    assert "Retrain 6 closed 2024-12-06 10:00" in text
    assert "Retrain 8" not in text
    assert "<script" not in page and "<img" not in page


@pytest.mark.usefixtures("history")
def test_github_that_does_not_answer_costs_the_retrainings_alone(github):
    github.full_name = "team/other"

    _, text = read_page()

    assert "GitHub did not do GET repos/team/model/pulls: gh? Not Found (HTTP 404)" in text
    assert "Champion v1.0.0" in text


def take_picture(folder, address, *options):
    """Open an address in a real browser; return the page as it became, and what its console said."""
    chromium = require_tool("chromium")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command += ["--virtual-time-budget=5000", f"--user-data-dir={folder / 'profile'}", *options, address]
    # Plots are drawn without the machine's fonts; a page without any has no text that could be too wide.
    environment = {name: value for name, value in os.environ.items() if name != "FONTCONFIG_FILE"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and keeps what was asked for."""

    asked: list[str] = []

    def log_request(self, *_):
        self.asked.append(self.path)


@contextmanager
def serve(folder):
    """Serve a folder on loopback; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.acceptance
def test_browser_asks_for_nothing_obeys_nothing_and_a_phone_shows_all(history, tmp_path):
    evil = make_report(21, EVIL, verdict=EVIL, reasons=["w" * 150, EVIL], metric=EVIL)
    evil["versions"][0]["metrics"] = {EVIL: {"value": 0.5, "low": 0.4, "high": 0.6, "tested": 0.5}}
    evil["drift"][0]["name"] = EVIL * 3
    page, _ = read_page("--monitor", str(write_reports(tmp_path / "reports", make_report(12), evil)))
    (history / "out/harness.html").write_text(HARNESS, encoding="utf-8")

    with serve(history / "out") as address:
        _, complaints = take_picture(tmp_path, f"{address}/status.html")
        framed, more = take_picture(tmp_path, f"{address}/harness.html")

    assert complaints + more == []
    found = json.loads(re.search(r"<pre>(.*?)</pre>", framed, re.S)[1].replace("&lt;", "<").replace("&gt;", ">"))
    assert found == {"width": 360, "wide": [], "shown": found["shown"], "loaded": []}
    assert found["shown"] > 100
    assert {path for path in Quiet.asked if path != "/favicon.ico"} == {"/status.html", "/harness.html"}
    # Names of XML's own, which nobody fetches.
    addresses = set(re.findall(r"https?://[^\"'\s<]+", page)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not addresses
    assert not re.search(r"<(script|img|a|link|iframe)\b(?! rel=\"icon\" href=\"data:,\")", page)


def make_run(number, **changes):
    """Make a finished run of the monitor as GitHub lists it."""
    listed = {"id": number, "path": ".github/workflows/monitor.yml", "status": "completed", "event": "schedule"}
    listed |= {"head_branch": "main", "head_repository": {"full_name": "team/model"}}
    return listed | changes


@pytest.mark.usefixtures("history")
def test_reports_come_from_the_monitors_own_runs_and_unsound_ones_are_left_out(github, capsys):
    report = json.dumps(make_report(12)).encode()
    fork = {"full_name": "stranger/model"}
    runs = [make_run(1), make_run(2, event="pull_request"), make_run(3, head_repository=fork), make_run(4)]
    runs += [make_run(5), make_run(6), make_run(7, path=".github/workflows/train.yml"), make_run(8)]
    github.runs += [*runs, make_run(9, head_branch="other"), make_run(10, status="in_progress")]
    github.artifacts |= {run["id"]: {"monitor": zip_files({"monitor.json": report})} for run in github.runs}
    github.artifacts[4] = {"monitor": zip_files({"../monitor.json": report})}
    github.artifacts[5] = {"monitor": zip_files({"monitor.json": b'{"a": NaN}'})}
    github.artifacts[8] = {"other": zip_files({"monitor.json": report})}
    github.expired.add(6)

    download(["out/monitored"])

    assert {path.name for path in Path("out/monitored").iterdir()} == {"1.json"}
    said = capsys.readouterr().out
    assert "run 4: the artifact is refused: it holds ../monitor.json, expected monitor.json" in said
    assert "run 5: monitor.json is refused: it is no JSON: it holds NaN" in said
    assert "Live: some error 0.5500" in read_page("--monitor", "out/monitored")[1]
    assert not github.list_writes()


@pytest.mark.usefixtures("history")
def test_download_that_breaks_off_writes_nothing(github):
    github.runs += [make_run(1), make_run(2)]
    github.artifacts[2] = {"monitor": zip_files({"monitor.json": b"{}"})}
    # The older run is asked for last, and the server hangs up.
    github.artifacts[1] = {"monitor": None}

    with pytest.raises(RefusedError, match="GitHub did not do GET repos/team/model/actions/runs/1/artifacts"):
        download(["out/monitored"])

    assert not Path("out/monitored").exists()
