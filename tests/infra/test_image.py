"""The container image: the bundle and nothing else on a slim Python, which answers as the zip file does.

Built for real with buildah. No registry is asked: the base is a small Debian, made once a machine.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from conftest import run_command, run_python
from filelock import FileLock
from servers import make_event, read_sent
from test_bundle import require_platform

from lifecycle.paths import BUNDLE, BUNDLE_FACTS
from lifecycle.serving.archive import hash_files
from tests.tools import require_tool

pytestmark = pytest.mark.acceptance

# Debian's release for a Python; no other version has one.
RELEASES = {(3, 11): "bookworm", (3, 13): "trixie"}
ROWS = 1000
# Settings that root needs as well.
KEPT = ("BUILDAH_ISOLATION", "CI", "CONTAINERS_STORAGE_CONF", "PATH", "PYTHONPATH")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-lifecycle"
# Makes a folder what a container's process sees: a root that it cannot write, and its own first process.
CONTAIN = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && mount -t proc proc "$0/proc" && exec "$@"'
BUILD_TOOLS = {"as", "cc", "g++", "gcc", "ld", "make", "pip", "pip3", "uv", "wheel"}
# Answers an event with the handler of the unpacked zip file, from a folder of its own.
ANSWER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from lifecycle.serve import handle
print(handle(json.load(sys.stdin), None)["body"], file=sys.stderr)
"""


@dataclass(frozen=True)
class Image:
    """A built image: the repository that it was built in, what was printed, its settings and its files."""

    repository: Path
    printed: str
    settings: dict[str, Any]
    container: str
    root: Path
    base: Path

    def run(self, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the container, and wait for it."""
        return call(*self.write_run(environment), *command)

    def write_run(self, environment: Mapping[str, str]) -> list[str]:
        """Write the command that runs another one in the container."""
        options = [f"--env={name}={value}" for name, value in environment.items()]
        return [*buildah(), "run", *options, self.container, "--"]

    def write_contained(self, environment: Mapping[str, str]) -> list[str]:
        """Write the command that starts the image alone in its world, and cannot write to its root."""
        given = dict(one.split("=", 1) for one in self.settings["Env"]) | environment
        where = ["env", "-i", "-C", self.settings["WorkingDir"], *(f"{key}={value}" for key, value in given.items())]
        contained = [*as_root("unshare"), "--pid", "--fork", "--kill-child", "--mount", "sh", "-c", CONTAIN]
        user = f"--userspec={self.settings['User']}"
        return [*contained, str(self.root), "chroot", user, str(self.root), *where, *self.settings["Cmd"]]


def as_root(tool: str) -> list[str]:
    """Write a command that runs a tool as root, with the settings of this process."""
    path = require_tool(tool)
    if os.geteuid() == 0:
        return [path]
    sudo = require_tool("sudo")
    if subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode and not os.environ.get("CI"):
        pytest.skip(f"{tool} needs root, and sudo asks for a password")
    return [sudo, "-n", "env", *(f"{name}={os.environ[name]}" for name in KEPT if name in os.environ), path]


def buildah() -> list[str]:
    """Write a command that begins with buildah."""
    return as_root("buildah")


def call(*command: str) -> "subprocess.CompletedProcess[str]":
    """Call a command and wait for it."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def do(*command: str) -> str:
    """Call a command that must end well, and give what it printed."""
    done = call(*command)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def provide_base() -> Path:
    """Give a small Debian with this Python, packed; the first test on a machine makes it."""
    release = RELEASES.get(sys.version_info[:2])
    if release is None:
        said = f"debootstrap makes a base for Python 3.11 or 3.13, and this is {platform.python_version()}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(said)
    CACHE.mkdir(parents=True, exist_ok=True)
    packed = CACHE / f"{release}.tar"
    with FileLock(f"{packed}.lock"):
        if not packed.exists():
            folder = CACHE / f"{release}.making"
            do(*as_root("rm"), "-rf", str(folder))
            do(*as_root("debootstrap"), "--variant=minbase", "--include=python3", release, str(folder))
            unneeded = [
                f"--exclude=./{name}" for name in ("var/cache/apt/*", "var/lib/apt/lists/*", "usr/share/doc/*")
            ]
            do(*as_root("tar"), "-C", str(folder), *unneeded, "-cf", f"{packed}.part", ".")
            do(*as_root("rm"), "-rf", str(folder))
            Path(f"{packed}.part").rename(packed)
    return packed


def make_base(folder: Path) -> str:
    """Make the base's image, with an installer where a published Python has it."""
    libraries = folder / "usr/local/lib" / f"python3.{sys.version_info[1]}" / "site-packages/pip"
    for path in (folder / "usr/local/bin/pip", libraries / "__init__.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    container = do(*buildah(), "from", "scratch")
    do(*buildah(), "add", "--quiet", container, str(provide_base()), "/")
    do(*buildah(), "add", "--quiet", container, str(folder), "/")
    do(*buildah(), "commit", "--quiet", container, "base")
    return do(*buildah(), "mount", container)


@pytest.fixture(name="image", scope="module")
def fixture_image(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Build the image of the second task's model with `make image`, in a store of the test's own."""
    require_platform()
    folder = tmp_path_factory.mktemp("image")
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n', encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(folder / "storage.conf"))
        # Needs neither a daemon nor a namespace.
        patch.setenv("BUILDAH_ISOLATION", "chroot")
        patch.delenv("STORAGE_DRIVER", raising=False)
        base = make_base(folder / "planted")
        repository = Path(shutil.copytree(trained, folder / "repository", symlinks=True))
        run_python(repository, "lifecycle.bundle")
        patch.setenv("PYTHONPATH", str(repository / "src"))
        printed = build(repository)
        tag = printed.split()[0]
        settings = json.loads(do(*buildah(), "inspect", "--type", "image", tag))["Docker"]["config"]
        container = do(*buildah(), "from", "--pull-never", tag)
        root = Path(do(*buildah(), "mount", container))
        # The files may be read, but the store's folders are root's.
        do(*as_root("chmod"), "a+x", *(str(folder / name) for name in ("graph", "graph/vfs", "graph/vfs/dir")))
        yield Image(repository, printed, settings, container, root, Path(base))
        do(*as_root("rm"), "-rf", str(folder / "graph"), str(folder / "run"))


def build(repository: Path) -> str:
    """Build the image of a repository's bundle, as `make image` does once the bundle is there."""
    python = f"run={' '.join(as_root(sys.executable))} -m"
    return run_command(
        repository, "make", "--no-print-directory", "--old-file=bundle", "image", "FROM=localhost/base", python
    ).stdout


@contextmanager
def serve(command: list[str]) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """Serve with a command, and give the port."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            lines = [process.stderr.readline()]
            while lines[-1] and not lines[-1].startswith("address="):
                lines.append(process.stderr.readline())
            assert lines[-1].startswith("address=http://0.0.0.0:"), "".join(lines)
            yield int(lines[-1].split()[0].rpartition(":")[2]), process
        finally:
            if process.poll() is None:
                # A process of root's ends by root's signal alone, and sudo hands none on.
                do(*as_root("kill"), str(find_last_child(process.pid)))


def find_last_child(pid: int) -> int:
    """Find the process at the end of a line of processes."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = " ".join(task.read_text(encoding="utf-8") for task in tasks).split()
    return find_last_child(int(children[0])) if children else pid


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Send one request over HTTP, to an address at which a server for 127.0.0.1 alone hears nothing."""
    connection = HTTPConnection("127.0.0.2", port, timeout=30)
    connection.request(method, path, None if body is None else json.dumps(body))
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def cut_predictions(answer: bytes) -> bytes:
    """Cut an answer's predictions out, as they were sent."""
    found = re.match(rb'\{("predictions": \[.*\]), "model_version"', answer)
    assert found, answer[:200]
    return found[1]


def list_files(root: Path) -> dict[str, str]:
    """List the files under a root, with the size of each."""
    listed = do(*as_root("find"), str(root), "-xdev", "-type", "f", "-printf", "%P\\t%s\\n")
    return dict(line.split("\t") for line in listed.splitlines())


def test_image_answers_the_same_bytes_as_the_zip_file(image: Image, tmp_path: Path) -> None:
    sent = {"rows": read_sent(image.repository, ROWS)}
    with zipfile.ZipFile(image.repository / BUNDLE) as file:
        file.extractall(tmp_path / "zip")

    with serve([*image.write_run({"PORT": "0"}), *image.settings["Cmd"]]) as (port, _):
        health, said = ask(port, "GET", "/health")
        status, answer = ask(port, "POST", "/predict", sent)

    command = [sys.executable, "-I", "-S", "-c", ANSWER, str(tmp_path / "zip")]
    event = json.dumps(make_event(json.dumps(sent)))
    zipped = subprocess.run(command, input=event, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    assert (health, json.loads(said)["status"], status) == (200, "ok", 200)
    assert len(json.loads(answer)["predictions"]) == ROWS
    assert cut_predictions(answer) == cut_predictions(zipped.splitlines()[-1].encode())


def test_image_holds_the_bundle_and_adds_nothing_else_to_its_base(
    image: Image, record_property: Any, tmp_path: Path
) -> None:
    with zipfile.ZipFile(image.repository / BUNDLE) as file:
        file.extractall(tmp_path)

    found, before = list_files(image.root), list_files(image.base)
    added = {name for name, size in found.items() if before.get(name) != size}
    assert hash_files(image.root / "var/task") == hash_files(tmp_path)
    assert {name for name in added if not name.startswith("var/task/")} <= {"etc/hosts", "etc/resolv.conf"}
    sizes = {"image": sum(map(int, found.values())), "base": sum(map(int, before.values()))}
    print(*(f"{name}_bytes={size:,}" for name, size in sizes.items()))
    for name, size in sizes.items():
        record_property(f"{name}_bytes", size)
    facts = json.loads((image.repository / BUNDLE_FACTS).read_text(encoding="utf-8"))
    assert sizes["image"] - sizes["base"] < 1.05 * facts["unzipped_bytes"]


def test_image_holds_no_tool_that_builds_or_installs(image: Image) -> None:
    folders = [image.root / folder for folder in ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin")]

    found = {path.name for folder in folders for path in folder.iterdir()}

    assert "python3" in found and not BUILD_TOOLS & found
    assert not list(image.root.glob("usr/**/site-packages/pip"))
    # The base had one, so that something was taken away.
    assert (image.base / "usr/local/bin/pip").exists()


def test_image_says_which_model_it_is(image: Image) -> None:
    facts = json.loads((image.repository / BUNDLE_FACTS).read_text(encoding="utf-8"))

    labels = {key.rpartition(".")[2]: value for key, value in image.settings["Labels"].items()}

    assert (labels["title"], labels["revision"]) == (facts["name"], facts["commit"])
    assert labels["version"] == facts["version"]
    assert re.fullmatch(rf"{facts['name']}:{re.escape(facts['version'])}  \d+ MB\n", image.printed)
    assert list(image.settings["ExposedPorts"]) == ["8080/tcp"]


def test_server_is_not_root_and_cannot_change_what_it_runs(image: Image) -> None:
    code = "import os; print(os.getuid(), os.getgid(), os.access('/var/task/manifest.json', os.W_OK))"

    told = image.run("python3", "-c", code)
    writing = image.run("touch", "/var/task/lifecycle/serve.py")

    assert told.stdout.split() == ["65532", "65532", "False"]
    assert writing.returncode != 0 and "Permission denied" in writing.stderr


def test_health_check_succeeds_while_the_model_is_served_and_fails_afterwards(image: Image) -> None:
    kind, *check = image.settings["Healthcheck"]["Test"]
    with serve([*image.write_run({"PORT": "0"}), *image.settings["Cmd"]]) as (port, _):
        during = image.run(*check, PORT=str(port))
    after = image.run(*check, PORT=str(port))

    assert kind == "CMD"
    assert (during.returncode, after.returncode) == (0, 1), during.stderr


def test_image_serves_from_a_read_only_root_and_ends_when_it_is_told(image: Image) -> None:
    with serve(image.write_contained({"PORT": "0"})) as (port, process):
        status, _ = ask(port, "POST", "/predict", read_sent(image.repository, 1)[0])
        server = find_last_child(process.pid)
        told = Path(f"/proc/{server}/status").read_text(encoding="utf-8")
        do(*as_root("kill"), "-TERM", str(server))
        code = process.wait(timeout=10)

    assert (status, code) == (200, 0)
    # The last number is the one that it has among its own: the first process, which no signal ends by itself.
    assert re.search(r"^NSpid:.*\t1$", told, re.M) and re.search(r"^Uid:\t65532\t", told, re.M)


def test_bundle_that_is_not_the_one_it_is_said_to_be_builds_no_image(image: Image, tmp_path: Path) -> None:
    repository = Path(shutil.copytree(image.repository, tmp_path / "copy", symlinks=True))
    with (repository / BUNDLE).open("ab") as file:
        file.write(b" ")

    command = [*as_root(sys.executable), "-m", "lifecycle.image", "--base", "localhost/base"]
    done = run_command(repository, *command, check=False)

    assert done.returncode == 1 and "bundle.zip: FAILED" in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("RefusedError: buildah built no image and ended with ")
    tags = do(*buildah(), "images", "--noheading", "--filter=label=org.opencontainers.image.title")
    assert len(tags.splitlines()) == 1
