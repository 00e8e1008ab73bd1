"""A workflow runs on this machine for an event, and every job and step says what became of it."""

from pathlib import Path

import pytest

from lifecycle.errors import MisuseError, RefusedError
from rehearsal.events import (
    BOT,
    merge_group,
    open_pull_request,
    pull_request,
    push,
    schedule,
    workflow_dispatch,
    workflow_run,
)
from rehearsal.runner import World, run_workflow
from tests.rehearsal.workflows import (
    CHECKOUT,
    REPOSITORY,
    list_results,
    make_repository,
    run_git,
    run_jobs,
    write_job,
    write_workflow,
)

PULL = open_pull_request(REPOSITORY, "better", "c" * 40, number=7)
FORKED = open_pull_request(REPOSITORY, "better", "c" * 40, number=8, fork="stranger/model")


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path) -> Path:
    """A repository."""
    return make_repository(tmp_path / "model")


def test_green_job_lists_its_steps(folder: Path) -> None:
    job = write_job("test", CHECKOUT, "name: Show\nrun: cat second", name="Test it")

    run = run_jobs(folder, job)

    assert (run.result, list_results(run)) == ("success", {"Test it": "success"})
    steps = run.find_job("test").steps
    assert [(step.name, step.result) for step in steps] == [
        ("Run actions/checkout@v7", "success"),
        ("Show", "success"),
    ]
    assert "\nsecond\n" in run.find_job("Test it").log


def test_red_job_skips_the_steps_after_it_save_those_that_always_run(folder: Path) -> None:
    steps = [
        "run: false | true",
        "run: echo never",
        "if: always()\nrun: echo always",
        "if: failure()\nrun: echo sorry",
    ]

    run = run_jobs(folder, write_job("test", *steps))

    assert run.result == "failure"
    assert [step.result for step in run.find_job("test").steps] == ["failure", "skipped", "success", "success"]


def test_jobs_that_need_a_failed_job_are_skipped_save_those_that_always_run(folder: Path) -> None:
    jobs = [
        write_job("first", "run: exit 3"),
        write_job("second", "run: echo never", needs="first"),
        write_job("third", "run: echo never", needs="second"),
        write_job("last", "run: test ${{ needs.first.result }} = failure", needs="[first, third]", if_="always()"),
        write_job("other", "run: echo there", if_="${{ !cancelled() }}", needs="first"),
    ]

    run = run_jobs(folder, *jobs)

    wanted = {"first": "failure", "second": "skipped", "third": "skipped", "last": "success", "other": "success"}
    assert list_results(run) == wanted


def test_job_and_step_are_skipped_by_their_conditions(folder: Path) -> None:
    skipped = write_job("nightly", "run: echo never", if_="github.event_name == 'schedule'", name="By night")
    job = write_job("test", "if: github.ref != 'refs/heads/main'\nrun: echo never", "run: 'true'")

    run = run_jobs(folder, skipped, job)

    assert list_results(run) == {"By night": "skipped", "test": "success"}
    assert [step.result for step in run.find_job("nightly").steps] == ["skipped"]
    assert [step.result for step in run.find_job("test").steps] == ["skipped", "success"]


def test_matrix_gives_one_job_per_entry(folder: Path) -> None:
    strategy = "{ fail-fast: false, max-parallel: 1, matrix: { part: [two, one], os: [ubuntu-24.04-arm] } }"
    named = write_job(
        "each", 'run: test "${{ matrix.part }}" = one', strategy=strategy, name="Part ${{ matrix.part }}"
    )
    skipped = write_job("after", "run: echo never", strategy=strategy, needs="each")

    run = run_jobs(folder, named.replace("ubuntu-latest", "${{ matrix.os }}"), skipped)

    assert list_results(run) == {"Part one": "success", "Part two": "failure", "after": "skipped"}


def test_output_reaches_the_next_job(folder: Path) -> None:
    first = write_job(
        "first",
        'id: say\nrun: echo "word=hello" >> "$GITHUB_OUTPUT"',
        outputs="{ word: '${{ steps.say.outputs.word }}' }",
    )
    second = write_job(
        "second", 'run: test "$WORD" = hello', needs="first", env="{ WORD: '${{ needs.first.outputs.word }}' }"
    )

    run = run_jobs(folder, first, second)

    assert run.result == "success"
    assert run.find_job("first").steps[0].outputs == {"word": "hello"}


def test_each_job_starts_in_a_folder_of_its_own(folder: Path) -> None:
    first = write_job("first", CHECKOUT, "run: touch left")
    second = write_job("second", "run: test ! -e second", CHECKOUT, "run: test ! -e left -a -e second", needs="first")

    run = run_jobs(folder, first, second)

    assert run.result == "success"
    assert not (folder / "left").exists()


def test_settings_reach_the_steps_and_secrets_stay_out_of_the_log(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-this-machine")
    env = "{ GIVEN: '${{ secrets.GIVEN }}', TOKEN: '${{ github.token }}', COLOUR: '${{ vars.COLOUR }}' }"
    check = (
        'run: |\n  test "$GIVEN$TOKEN$COLOUR$PLAIN" = "a\'b \\$c-token-green-yes"\n  test -z "$AWS_SECRET_ACCESS_KEY"'
    )
    job = write_job(
        "test", check, 'run: echo "given $GIVEN"', 'run: echo "### Done" >> "$GITHUB_STEP_SUMMARY"', env=env
    )
    world = {
        "secrets": {"GIVEN": "a'b $c", "GITHUB_TOKEN": "-token"},
        "variables": {"COLOUR": "-green"},
        "env": {"PLAIN": "-yes"},
    }

    run = run_jobs(folder, job, **world)

    assert run.result == "success"
    assert "\ngiven ***\n" in run.find_job("test").log
    assert run.find_job("test").summary == "### Done\n"


@pytest.mark.parametrize(
    ("event", "expression", "value"),
    [
        (pull_request(PULL), "github.event.pull_request.head.repo.full_name", REPOSITORY),
        (pull_request(PULL), "github.head_ref", "better"),
        (pull_request(PULL), "github.base_ref", "main"),
        (pull_request(PULL), "github.ref", "refs/pull/7/merge"),
        (pull_request(PULL), "github.repository", REPOSITORY),
        (pull_request(FORKED), "github.event.pull_request.head.repo.fork", "true"),
        (pull_request(PULL, actor=BOT), "github.actor", "dependabot[bot]"),
        (pull_request(PULL, label="run"), "github.event.pull_request.labels.*.name", "Array"),
        (pull_request(PULL, label="run"), "contains(github.event.pull_request.labels.*.name, 'run')", "true"),
        (merge_group(REPOSITORY, "d" * 40, "e" * 40), "github.event.merge_group.base_sha", "e" * 40),
        (merge_group(REPOSITORY, "d" * 40, "e" * 40), "github.sha", "d" * 40),
        (merge_group(REPOSITORY, "d", "e"), "github.ref", "refs/heads/gh-readonly-queue/main/pr-1-e"),
        (push(REPOSITORY, "f" * 40), "github.sha", "f" * 40),
        (workflow_run(PULL, "Test"), "github.event.workflow_run.pull_requests[0].number", "7"),
        (workflow_run(FORKED, "Test", run_id=5), "github.event.workflow_run.id", "5"),
        (workflow_run(FORKED, "Test"), "github.event.workflow_run.head_repository.full_name", "stranger/model"),
        (workflow_run(FORKED, "Test"), "github.ref", "refs/heads/main"),
        (schedule(REPOSITORY, "0 5 * * 1"), "github.event.schedule", "0 5 * * 1"),
    ],
)
def test_expression_sees_the_event(folder: Path, event, expression: str, value: str) -> None:
    on = f"{{ {event.name}: {{ types: [synchronize, labeled, checks_requested, completed] }} }}"
    on = on if "action" in event.payload else f"[{event.name}]"

    run = run_jobs(
        folder,
        write_job("test", 'run: echo "is $SEEN"', env=f'{{ SEEN: "${{{{ {expression} }}}}" }}'),
        event=event,
        on=on,
    )

    assert f"\nis {value}\n" in run.find_job("test").log


def test_dispatch_has_its_inputs(folder: Path) -> None:
    on = "{ workflow_dispatch: { inputs: { month: {}, dry: { type: boolean }, size: { default: small } } } }"
    event = workflow_dispatch(REPOSITORY, "try.yml", {"month": "2024-01", "dry": True})
    echo = 'run: echo "has $MONTH $SIZE"'
    job = write_job(
        "test",
        echo,
        "if: inputs.dry\nrun: echo dry",
        env="{ MONTH: '${{ inputs.month }}', SIZE: '${{ inputs.size }}' }",
    )

    run = run_jobs(folder, job, event=event, on=on)

    assert "\nhas 2024-01 small\n" in run.find_job("test").log
    assert [step.result for step in run.find_job("test").steps] == ["success", "success"]


@pytest.mark.parametrize(
    ("on", "message"),
    [
        (
            "[workflow_dispatch, schedule]",
            r"try.yml does not start on pull_request, but on workflow_dispatch, schedule",
        ),
        ("pull_request", "does not start on pull_request labeled, but on opened, synchronize, reopened"),
    ],
)
def test_event_that_starts_nothing_is_refused(folder: Path, on: str, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        run_jobs(folder, write_job("test", "run: 'true'"), event=pull_request(PULL, label="run"), on=on)


def test_run_has_a_time_limit(folder: Path) -> None:
    with pytest.raises(RefusedError, match="try.yml ran longer than 1 seconds"):
        run_jobs(folder, write_job("test", "run: sleep 60"), limit_seconds=1)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("nothing.at.all == 1", "Unknown Variable Access nothing"),
        ("always() && fromJSON(github.ref).a", "Error in if-expression"),
    ],
)
def test_workflow_that_act_cannot_run_is_no_result(folder: Path, condition: str, said: str) -> None:
    with pytest.raises(RefusedError, match=f"act could not run try.yml: .*{said}"):
        run_jobs(
            folder, write_job("red", "run: 'false'"), write_job("test", "run: 'true'", if_=condition, needs="red")
        )


def test_lack_of_act_says_how_to_install_it(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(folder))

    with pytest.raises(MisuseError, match="go install github.com/nektos/act@v0.2.89"):
        run_workflow(write_workflow(folder, ""), push(REPOSITORY, "f" * 40), World(folder, folder))


def test_fresh_checkout_is_as_deep_as_it_was_asked(folder: Path) -> None:
    (folder / "second").write_text("not committed\n", encoding="utf-8")
    count = 'run: test "$(git rev-list --count HEAD) $(cat second)" = "$COUNT second"'
    jobs = [
        write_job("shallow", CHECKOUT, count, env='{ COUNT: "1" }'),
        write_job("deep", f"{CHECKOUT}\nwith: {{ fetch-depth: 0 }}", count, env='{ COUNT: "2" }'),
    ]

    run = run_jobs(folder, *jobs, fetch=True)

    assert list_results(run) == {"shallow": "success", "deep": "success"}
    assert run_git(folder, "rev-list", "--count", "HEAD") == "2"
