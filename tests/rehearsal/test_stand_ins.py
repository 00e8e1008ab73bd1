"""Stand-ins do what the real actions do, and what those would refuse is refused before a run."""

import json
import re
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from lifecycle.errors import MisuseError
from rehearsal.stand_ins import check_workflow, map_actions
from tests.rehearsal.workflows import (
    CHECKOUT,
    list_results,
    make_repository,
    run_git,
    run_jobs,
    write_job,
    write_workflow,
)

UPLOAD = "uses: actions/upload-artifact@v7"
DOWNLOAD = "uses: actions/download-artifact@v8"


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path) -> Path:
    """A repository."""
    return make_repository(tmp_path / "model")


def test_artifact_goes_from_one_job_to_the_next(folder: Path) -> None:
    make = "run: mkdir -p out/plots && echo 1 > out/one && echo 2 > out/plots/two && echo 3 > out/.hidden"
    upload = f"id: upload\n{UPLOAD}\nwith: {{ name: report, path: out, if-no-files-found: error, retention-days: 3 }}"
    first = write_job("first", make, upload, outputs="{ id: '${{ steps.upload.outputs.artifact-id }}' }")
    second = write_job(
        "second",
        f"{DOWNLOAD}\nwith: {{ name: report, path: in }}",
        'run: test "$(cat in/one in/plots/two | tr "\\n" +)" = 1+2+ && test ! -e in/.hidden',
        f"{DOWNLOAD}\nwith: {{ artifact-ids: '${{{{ needs.first.outputs.id }}}}' }}",
        "run: test -e one",
        f"{DOWNLOAD}\nwith: {{ name: other }}",
        needs="first",
    )

    run = run_jobs(folder, first, second)

    assert [step.result for step in run.find_job("second").steps] == ["success"] * 4 + ["failure"]
    assert "Artifact not found for name: other; run 1 has report" in run.find_job("second").log


def test_artifact_of_another_run_needs_a_token(folder: Path) -> None:
    run_jobs(folder, write_job("make", "run: echo 1 > one", f"{UPLOAD}\nwith: {{ name: report, path: one }}"))
    given = "name: report, run-id: 1, path: in"
    steps = [f"{DOWNLOAD}\nwith: {{ {given}, github-token: '${{{{ github.token }}}}' }}", "run: cat in/one"]

    run = run_jobs(folder, write_job("take", *steps, f"{DOWNLOAD}\nwith: {{ {given} }}"), run_id=2)

    assert [step.result for step in run.find_job("take").steps] == ["success", "success", "failure"]
    assert "run 2 has none" in run.find_job("take").log


def test_artifacts_are_chosen_by_pattern_and_merged(folder: Path) -> None:
    make = "run: mkdir a b && echo 1 > a/one.txt && echo 2 > b/two.txt && echo 3 > b/no.log"
    both = "path: |\n    a/*.txt\n    b\n    !b/*.log"
    first = write_job(
        "first",
        make,
        f"{UPLOAD}\nwith:\n  name: part-1\n  {both}",
        f"{UPLOAD}\nwith: {{ name: part-2, path: b/two.txt }}",
        f"{UPLOAD}\nwith: {{ name: whole, path: a }}",
    )
    second = write_job(
        "second",
        f"{DOWNLOAD}\nwith: {{ pattern: part-*, path: apart }}",
        f"{DOWNLOAD}\nwith: {{ pattern: part-*, path: together, merge-multiple: true }}",
        "run: test -e apart/part-1/a/one.txt -a -e apart/part-1/b/two.txt -a -e apart/part-2/two.txt",
        "run: test ! -e apart/part-1/b/no.log -a ! -e apart/whole -a -e together/two.txt -a -e together/a/one.txt",
        needs="first",
    )

    run = run_jobs(folder, first, second)

    assert list_results(run) == {"first": "success", "second": "success"}


def test_hidden_files_are_left_out_unless_they_are_asked_for(folder: Path) -> None:
    make = (
        "run: mkdir -p .dir/out && echo 1 > .dir/out/seen && echo 2 > .dir/out/.unseen && cp -r .dir/out $RUNNER_TEMP"
    )
    upload = f"{UPLOAD}\nwith: {{ overwrite: true, "
    steps = [
        make,
        f"{upload}path: .dir/out }}",
        f"{DOWNLOAD}\nwith: {{ name: artifact, path: a }}",
        f"{upload}path: '${{{{ runner.temp }}}}/out', include-hidden-files: true }}",
        f"{DOWNLOAD}\nwith: {{ name: artifact, path: b }}",
        "run: test -e a/seen -a ! -e a/.unseen -a -e b/.unseen",
        f"{upload}path: .dir, if-no-files-found: error }}",
    ]

    run = run_jobs(folder, write_job("test", *steps))

    assert [step.result for step in run.find_job("test").steps] == ["success"] * 6 + ["failure"]


@pytest.mark.parametrize(
    ("given", "result", "said"),
    [
        ("path: nothing, if-no-files-found: error", "failure", "No files were found with the provided path: nothing"),
        ("path: nothing", "success", "::warning::No files were found"),
        ("path: second", "failure", "an artifact with this name already exists on the workflow run: report"),
        ("path: second, overwrite: true", "success", "has been successfully uploaded: 1 files"),
        ("path: second, overwrite: 'yes'", "failure", "'yes' is no boolean"),
    ],
)
def test_upload_refuses_what_the_real_one_refuses(folder: Path, given: str, result: str, said: str) -> None:
    first = f"{UPLOAD}\nwith: {{ name: report, path: first }}"

    run = run_jobs(folder, write_job("make", CHECKOUT, first, f"{UPLOAD}\nwith: {{ name: report, {given} }}"))

    assert [step.result for step in run.find_job("make").steps] == ["success", "success", result]
    assert said in run.find_job("make").log


def test_cache_is_restored_in_a_later_run(folder: Path) -> None:
    def run_with(key: str, path: str = "kept") -> list[str]:
        given = f"key: {key}, path: {path}"
        restore = f"id: cache\nuses: actions/cache/restore@v5\nwith: {{ {given}, restore-keys: linux- }}"
        make = "run: cat kept/* || true; mkdir -p kept && echo made > kept/file"
        save = f"uses: actions/cache/save@v5\nwith: {{ {given} }}"
        run = run_jobs(folder, write_job("test", restore, make, save))
        assert run.result == "success"
        outputs = run.find_job("test").steps[0].outputs
        assert ("\nmade\n" in run.find_job("test").log) == bool(outputs["cache-matched-key"])
        return [outputs[f"cache-{name}"] for name in ("hit", "matched-key", "primary-key")]

    assert run_with("linux-a") == ["", "", "linux-a"]
    assert run_with("linux-a") == ["true", "linux-a", "linux-a"]
    assert run_with("linux-b") == ["false", "linux-a", "linux-b"]
    # Another list of paths is another cache, whatever its key.
    assert run_with("linux-a", "./kept") == ["", "", "linux-a"]


def test_whole_cache_is_saved_after_its_job_unless_that_failed(folder: Path) -> None:
    cache = "uses: actions/cache@v5\nwith: { key: '${{ matrix.key }}', path: kept }"
    jobs = [
        write_job("make", cache, "run: ls kept || { mkdir kept && touch kept/$KEY; }", "run: test $KEY = good"),
    ]
    settings = "    strategy: { matrix: { key: [good, bad] } }\n    env: { KEY: '${{ matrix.key }}' }\n"
    jobs = [jobs[0].replace("    steps:\n", f"{settings}    steps:\n")]

    first, second = (run_jobs(folder, *jobs, run_id=number) for number in (1, 2))

    assert "Cache saved with key: good" in first.find_job("make (good)").log
    assert "Cache restored from key: good" in second.find_job("make (good)").log
    assert "not saving cache" in second.find_job("make (good)").log
    assert "Cache not found for input keys: bad" in second.find_job("make (bad)").log


def test_checkout_brings_another_branch_beside(folder: Path) -> None:
    run_git(folder, "push", "--quiet", "origin", "HEAD~1:refs/heads/before")
    other = f"id: other\n{CHECKOUT}\nwith: {{ ref: before, path: base }}"

    run = run_jobs(
        folder, write_job("test", CHECKOUT, other, "run: test -e second -a -e base/first -a ! -e base/second")
    )

    assert run.result == "success"
    assert run.find_job("test").steps[1].outputs["commit"] == run_git(folder, "rev-parse", "HEAD~1")


def test_checkout_of_what_is_not_there_fails(folder: Path) -> None:
    branch = write_job("branch", f"{CHECKOUT}\nwith: {{ ref: nowhere, path: base }}")
    other = write_job("other", f"{CHECKOUT}\nwith: {{ repository: team/other, path: base }}")

    run = run_jobs(folder, branch, other)

    assert list_results(run) == {"branch": "failure", "other": "failure"}
    assert "couldn't find remote ref nowhere" in run.find_job("branch").log
    assert "Not found: team/other; the rehearsal has only team/model" in run.find_job("other").log


def test_setups_take_what_is_at_hand_and_say_so(folder: Path) -> None:
    tools = folder.parent / "tools"
    tools.mkdir()
    for name, said in (("terraform", "Terraform v1.11.4"), ("node", "v22.1.0")):
        (tools / name).write_text(f"#!/bin/sh\necho '{said}'\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    job = write_job(
        "test",
        "run: echo $TOOLS >> $GITHUB_PATH",
        "id: python\nuses: actions/setup-python@v7\nwith: { python-version: '3.99' }",
        'run: test "$(python3 -c \'import sys; print(*sys.version_info[:3], sep=".")\')" = $VERSION',
        "uses: hashicorp/setup-terraform@v4\nwith: { terraform_version: 1.11.4, terraform_wrapper: false }",
        "uses: actions/setup-node@v7\nwith: { node-version: 20 }",
        env=f"{{ TOOLS: {tools} }}",
    ).replace("= $VERSION", "= ${{ steps.python.outputs.python-version }}")

    run = run_jobs(folder, job)

    log = run.find_job("test").log
    assert run.result == "success", log
    assert "Python 3.99 was asked for; 3." in log
    assert "\nTerraform 1.11.4\n" in log
    assert "Node 20 was asked for; 22.1.0 is at hand and taken" in log


def test_role_is_assumed_only_on_loopback(folder: Path, monkeypatch) -> None:
    uses = "uses: aws-actions/configure-aws-credentials@v6\nwith: { aws-region: eu-west-1, "
    role = f"{uses}role-to-assume: 'arn:aws:iam::123456789012:role/gate' }}"
    keys = f"{uses}aws-access-key-id: some, aws-secret-access-key: word }}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://example.com")
    with_keys = write_job("keys", keys, "run: test $AWS_ACCESS_KEY_ID-$AWS_REGION = some-eu-west-1")

    run = run_jobs(folder, with_keys, write_job("role", role), env={"AWS_ENDPOINT_URL": "https://example.com"})

    assert list_results(run) == {"keys": "success", "role": "failure"}
    assert "a rehearsal assumes a role only on 127.0.0.1" in run.find_job("role").log


def test_role_of_the_aws_on_loopback_is_assumed(folder: Path) -> None:
    role = "role-to-assume: 'arn:aws:iam::123456789012:role/gate', output-credentials: true"
    uses = "id: aws\nuses: aws-actions/configure-aws-credentials@v6"
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        job = write_job(
            "role", f"{uses}\nwith: {{ aws-region: eu-west-1, {role} }}", "run: test -n $AWS_SESSION_TOKEN"
        )
        run = run_jobs(folder, job, env={"AWS_ENDPOINT_URL": f"http://{host}:{port}"})
    finally:
        server.stop()

    outputs = run.find_job("role").steps[0].outputs
    assert run.result == "success"
    assert outputs["aws-account-id"] == "123456789012"
    assert outputs["aws-access-key-id"].startswith("ASIA")


def test_attestation_names_what_was_built(folder: Path) -> None:
    attest = "id: attest\nuses: actions/attest-build-provenance@v4\nwith: { subject-path: first }"

    run = run_jobs(folder, write_job("build", CHECKOUT, attest))

    bundle = json.loads(Path(run.find_job("build").steps[1].outputs["bundle-path"]).read_text(encoding="utf-8"))
    assert bundle["commit"] == run_git(folder, "rev-parse", "HEAD")
    assert [*bundle["subjects"]] == ["first"]


def test_page_is_published_in_place_of_the_former_one(folder: Path) -> None:
    make = "run: mkdir site && echo 1 > site/index.html && echo 2 > site/.hidden"
    build = write_job("build", make, "uses: actions/upload-pages-artifact@v5\nwith: { path: site }")
    deploy = "id: pages\nuses: actions/deploy-pages@v5"
    published = folder.parent / "store/pages"
    published.mkdir(parents=True)
    (published / "old.html").touch()

    run = run_jobs(folder, build, write_job("publish", deploy, needs="build"))

    assert run.find_job("publish").steps[0].outputs["page_url"] == "https://team.github.io/model/"
    assert [path.name for path in published.iterdir()] == ["index.html"]


def test_page_that_nobody_packed_is_not_published(folder: Path) -> None:
    run = run_jobs(folder, write_job("publish", "uses: actions/deploy-pages@v5"))

    assert 'No artifacts named "github-pages" were found' in run.find_job("publish").log
    assert run.find_job("publish").result == "failure"


SAY = 'id: say\nrun: echo "word=1" >> "$GITHUB_OUTPUT"'
OUTPUT = "{ word: '${{ steps.say.outputs.word }}' }"


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        (
            [write_job("test", f"{UPLOAD}\nwith: {{ nam: report, path: out }}")],
            "try.yml, job test, step 1 (actions/upload-artifact@v7) gives nam to actions/upload-artifact, which "
            "knows "
            "archive, compression-level, if-no-files-found, include-hidden-files, name, overwrite, path",
        ),
        ([write_job("test", UPLOAD)], "gives no path to actions/upload-artifact, which needs path"),
        ([write_job("test", "uses: actions/cash@v1")], "step 1 (actions/cash@v1): actions/cash@v1 has no stand-in;"),
        (
            [write_job("test", SAY, "name: Hear\nrun: echo ${{ steps.say.outputs.wort }}")],
            "try.yml, job test, step 2 (Hear) reads steps.say.outputs.wort; its command gives word",
        ),
        (
            [write_job("test", f"id: up\n{UPLOAD}\nwith: {{ path: out }}", "if: steps.up.outputs.id\nrun: 'true'")],
            "gives artifact-digest, artifact-id, artifact-url",
        ),
        (
            [write_job("test", "run: echo ${{ steps.later.outputs.word }}", SAY)],
            "names the step later; known are none",
        ),
        (
            [
                write_job("say", SAY, outputs=OUTPUT),
                write_job("hear", "run: '${{ needs.say.outputs.wort }}'", needs="say"),
            ],
            "try.yml, job hear reads needs.say.outputs.wort; job say gives word",
        ),
        (
            [write_job("say", SAY, outputs=OUTPUT), write_job("hear", "run: '${{ needs.say.outputs.word }}'")],
            "try.yml, job hear names the job say; known are none",
        ),
        (
            [write_job("say", SAY, outputs=OUTPUT.replace("word }", "wort }"))],
            "try.yml, job say, outputs reads steps.say.outputs.wort; its command gives word",
        ),
        (["  call:\n    uses: ./.github/workflows/other.yml\n"], "runs no workflow that is called by another"),
    ],
)
def test_what_nobody_declared_is_refused(tmp_path: Path, jobs: list[str], message: str) -> None:
    with pytest.raises(MisuseError, match=re.escape(message)) as raised:
        check_workflow(write_workflow(tmp_path, "".join(jobs)), tmp_path)

    assert "\n" not in str(raised.value)


def test_output_of_a_command_that_writes_by_other_means_is_taken_on_trust(tmp_path: Path) -> None:
    job = write_job("test", "id: say\nrun: python -m say", "run: echo ${{ steps.say.outputs.any }}")

    check_workflow(write_workflow(tmp_path, job), tmp_path)


def test_own_action_is_looked_into(tmp_path: Path) -> None:
    own = tmp_path / ".github/actions/set-up/action.yml"
    own.parent.mkdir(parents=True)
    step = "{ uses: actions/setup-python@v7, with: { python-versio: '3.12' } }"
    own.write_text(f"inputs: {{ extra: {{}} }}\nruns: {{ using: composite, steps: [{step}] }}\n", encoding="utf-8")
    path = write_workflow(tmp_path, write_job("test", "uses: ./.github/actions/set-up\nwith: { extra: 1 }"))

    assert [*map_actions(path, tmp_path)] == ["actions/setup-python@v7"]
    with pytest.raises(MisuseError, match=r"set-up, step 1 .* gives python-versio to actions/setup-python"):
        check_workflow(path, tmp_path)
