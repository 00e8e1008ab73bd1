"""CML's command line as far as workflows use it, for tests and rehearsals: put it on PATH under the name ``cml``.

``cml comment update`` finds its comment by its watermark, as the real one does, and posts with GitHub's API;
``cml runner launch`` starts a machine with its tags on the AWS on loopback, and registers it nowhere. With
CML_RECORD in its environment it keeps its arguments and the names of its environment there, a line of JSON a call.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError
from urllib.request import Request, urlopen

# The real one looks no further.
MOST_COMMENTS = 30
# Of a machine in the cloud.
PARTS = ("region", "type", "hdd-size", "metadata", "aws-security-group")


class _Parser(argparse.ArgumentParser):
    """A parser that ends as CML does where it knows a flag not."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"cml: {message}\n")


def ask(method: str, endpoint: str, content: Any = None) -> Any:
    """Ask GitHub's API for something of the repository."""
    address = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{endpoint}"
    headers = {"Authorization": f"token {os.environ['REPO_TOKEN']}", "Content-Type": "application/json"}
    body = None if content is None else json.dumps(content).encode()
    with urlopen(Request(address, body, headers, method=method)) as answer:
        return json.load(answer)


def update_comment(number: str, page: str, title: str) -> str:
    """Update the last comment with this watermark, whichever commit it was of, or else write one."""
    mark = f'![](https://cml.dev/watermark.png#{os.environ["GITHUB_SHA"]} "CML watermark {title}")'
    former = re.compile(rf'!\[\]\(https://cml\.dev/watermark\.png#[0-9a-fA-F]+ "CML watermark {re.escape(title)}"\)')
    comments = ask("GET", f"issues/{number}/comments")[:MOST_COMMENTS]
    place = next((row["id"] for row in reversed(comments) if former.search(row["body"])), None)
    content = {"body": f"{page}\n\n{mark}"}
    if place is None:
        return str(ask("POST", f"issues/{number}/comments", content)["id"])
    return str(ask("PATCH", f"issues/comments/{place}", content)["id"])


def launch(argv: Sequence[str]) -> str:
    """Start a machine, where none has the tags yet."""
    parser = _Parser(prog="cml runner launch", allow_abbrev=False)
    for name in (
        "cloud-region",
        "cloud-type",
        "cloud-hdd-size",
        "cloud-metadata",
        "labels",
        "idle-timeout",
        "cloud-aws-security-group",
    ):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--cloud", required=True, choices=["aws"])
    for flag in ("--reuse", "--no-retry"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args(argv)
    if not os.environ.get("REPO_TOKEN"):
        parser.error("Repository token not found")
    # Only here: most that is asked of this stand-in is a comment.
    import boto3  # pylint: disable=import-outside-toplevel

    key, _, value = given.cloud_metadata.partition("=")
    client = boto3.client("ec2", region_name=given.cloud_region, endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    wanted = {f"tag:{key}": value, "instance-state-name": "running"}
    filters = [{"Name": name, "Values": [found]} for name, found in wanted.items()]
    there = client.describe_instances(Filters=filters)["Reservations"]
    if there and given.reuse:
        return "Reusing existing runners"
    tags = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": value}]}]
    sizes = {"ImageId": "ami-12c6146b", "InstanceType": given.cloud_type, "MinCount": 1, "MaxCount": 1}
    return str(client.run_instances(**sizes, TagSpecifications=tags)["Instances"][0]["InstanceId"])


def main(argv: Sequence[str] | None = None) -> None:
    """Update a comment, or start a machine."""
    record = os.environ.get("CML_RECORD")
    if record:
        called = {"arguments": list(sys.argv[1:] if argv is None else argv), "environment": sorted(os.environ)}
        with Path(record).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(called)}\n")
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:2] == ["runner", "launch"]:
        print(launch(words[2:]))
        return
    parser = _Parser(prog="cml", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("command", choices=["comment"])
    parser.add_argument("action", choices=["update"])
    parser.add_argument("--target", required=True)
    # The real one would upload files by default; that is never wanted.
    parser.add_argument("--publish", required=True, choices=["false"])
    parser.add_argument("--watermark-title", default="")
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args(argv)
    target = re.fullmatch(r"pr/([0-9]+)", arguments.target)
    if not target:
        parser.error(f"unknown target {arguments.target}")
    try:
        print(update_comment(target[1], arguments.page.read_text(encoding="utf-8"), arguments.watermark_title))
    except HTTPError as error:
        sys.exit(f"cml: {error.code} {json.load(error).get('message')}")


if __name__ == "__main__":
    main()
