"""Tools and rights that a job asks for: what is at hand is taken, and a difference is said."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen
from xml.etree import ElementTree

from rehearsal.actions.step import (
    append_line,
    expand_pattern,
    fail,
    find_store,
    list_patterns,
    read_inputs,
    set_output,
)


def ask_version(*command: str) -> str:
    """Ask a tool for its version; empty where it is not there or does not run."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"[0-9]+\.[0-9]+\.[0-9]+", done.stdout)
    return found[0] if found and done.returncode == 0 else ""


def say_difference(tool: str, wanted: str, version: str) -> None:
    """Say which version is taken, and whether it is the one that was asked for."""
    if not version:
        fail(f"{tool} is not on this machine's PATH")
    numbers = re.match(r"[0-9]+(\.[0-9]+)*$", wanted.removesuffix(".x"))
    same = not numbers or f"{version}.".startswith(f"{numbers[0]}.")
    print(
        f"{tool} {version}" if same else f"::warning::{tool} {wanted} was asked for; {version} is at hand and taken"
    )


def set_up_python(inputs: dict[str, str]) -> None:
    """Take the Python that was asked for, or the one at hand."""
    file = inputs["python-version-file"]
    wanted = inputs["python-version"] or (Path(file).read_text(encoding="utf-8").strip() if file else "")
    numbers = re.search(r"[0-9]+\.[0-9]+", wanted)
    named = f"python{numbers[0]}" if numbers else "python3"
    tool = named if ask_version(named, "--version") else "python3"
    version = ask_version(tool, "--version")
    say_difference("Python", wanted, version)
    code = "import sys; print(sys.executable)"
    path = subprocess.run([tool, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    if tool != "python3":
        folder = Path(os.environ["RUNNER_TEMP"]) / tool
        folder.mkdir(exist_ok=True)
        for name in ("python", "python3"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(path)
        append_line("GITHUB_PATH", str(folder))
    set_output("python-version", version)
    set_output("python-path", path)
    set_output("cache-hit", "false")


def set_up_node(inputs: dict[str, str]) -> None:
    """Take the Node at hand."""
    version = ask_version("node", "--version")
    say_difference("Node", inputs["node-version"].removeprefix("v"), version)
    set_output("node-version", f"v{version}")
    set_output("cache-hit", "false")


def set_up_terraform(inputs: dict[str, str]) -> None:
    """Take the Terraform at hand."""
    say_difference("Terraform", inputs["terraform_version"], ask_version("terraform", "version"))


def make_token(audience: str) -> str:
    """Make an identity token as GitHub words it, which nobody has signed."""
    claims = {
        "iss": "https://token.actions.githubusercontent.com",
        "aud": audience,
        "sub": f"repo:{os.environ['GITHUB_REPOSITORY']}:ref:{os.environ['GITHUB_REF']}",
        "repository": os.environ["GITHUB_REPOSITORY"],
        "sha": os.environ["GITHUB_SHA"],
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "unsigned"])


def assume_role(role: str, inputs: dict[str, str]) -> dict[str, str]:
    """Ask the AWS on loopback for a role's credentials."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if urlsplit(endpoint).hostname not in ("127.0.0.1", "localhost"):
        fail(f"AWS_ENDPOINT_URL is {endpoint!r}; a rehearsal assumes a role only on 127.0.0.1")
    query = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": inputs["role-session-name"] or "GitHubActions",
        "WebIdentityToken": make_token(inputs["audience"]),
        "DurationSeconds": inputs["role-duration-seconds"] or "3600",
    }
    with urlopen(endpoint, data=urlencode(query).encode(), timeout=30) as response:
        found = ElementTree.fromstring(response.read())
    return {part.tag.partition("}")[2]: part.text or "" for part in found.iter()}


def configure_aws(inputs: dict[str, str]) -> None:
    """Give the job credentials for the AWS on loopback, from a role or as they were written."""
    role = inputs["role-to-assume"]
    if role:
        given = assume_role(role, inputs)
        keys = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        account = role.split(":")[4]
    else:
        keys = (inputs["aws-access-key-id"], inputs["aws-secret-access-key"], inputs["aws-session-token"])
        account = ""
        if not keys[0]:
            fail("Could not load credentials: neither role-to-assume nor aws-access-key-id is set")
    names = ("access-key-id", "secret-access-key", "session-token")
    for name, value in zip(names, keys, strict=True):
        append_line("GITHUB_ENV", f"AWS_{name.upper().replace('-', '_')}={value}")
        if inputs["output-credentials"] == "true":
            set_output(f"aws-{name}", value)
    append_line("GITHUB_ENV", f"AWS_REGION={inputs['aws-region']}\nAWS_DEFAULT_REGION={inputs['aws-region']}")
    set_output("aws-account-id", account)
    print(f"Credentials for {role or keys[0]}")


def attest(inputs: dict[str, str]) -> None:
    """Note the digests of what was built; there is no signature on loopback."""
    given = [bool(inputs[f"subject-{name}"]) for name in ("path", "digest", "checksums")]
    if sum(given) != 1:
        fail("One of subject-path, subject-digest, or subject-checksums must be provided")
    patterns = list_patterns(inputs["subject-path"].replace(",", "\n"))
    files = [path for pattern in patterns for path in expand_pattern(pattern) if path.is_file()]
    if patterns and not files:
        fail(f"Could not find subject at path {inputs['subject-path']}")
    subjects = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    if inputs["subject-digest"]:
        subjects = {inputs["subject-name"]: inputs["subject-digest"].removeprefix("sha256:")}
    bundle = find_store("attestations", os.environ["GITHUB_RUN_ID"]) / "attestation.json"
    bundle.write_text(json.dumps({"commit": os.environ["GITHUB_SHA"], "subjects": subjects}), encoding="utf-8")
    print(f"Attested: {', '.join(subjects) or inputs['subject-checksums']}")
    set_output("bundle-path", bundle)
    set_output("attestation-id", "1")
    set_output(
        "attestation-url", f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}/attestations/1"
    )


COMMANDS = {
    "attest": attest,
    "aws": configure_aws,
    "node": set_up_node,
    "python": set_up_python,
    "terraform": set_up_terraform,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](read_inputs())
