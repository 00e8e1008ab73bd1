"""Functions for tests of the cloud: tiny zip files, clients, and waiting for what arrives a moment later."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from rehearsal.cloud.server import Cloud

HANDLER = """
import json, os, signal, sys, time

VERSION = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]

def answer(event, context):
    if event.get("raise"):
        raise ValueError(event["raise"])
    if event.get("exit") is not None:
        os._exit(event["exit"])
    if event.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(event.get("sleep", 0))
    if event.get("say"):
        print(event["say"])
    return {"event": event, "version": VERSION, "modules": sorted(sys.modules), "mark": os.environ.get("MARK")}
"""


def pack(source: str = HANDLER) -> bytes:
    """Make a function's zip file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("handler.py", source)
    return content.getvalue()


def make_client(cloud: Cloud, service: str, credentials: Mapping[str, str] | None = None) -> Any:
    """Make a client with the account's keys, or those of a role; it tries nothing twice and checks nothing."""
    environment = cloud.environment
    keys = credentials or {}
    return boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=keys.get("AccessKeyId", environment["AWS_ACCESS_KEY_ID"]),
        aws_secret_access_key=keys.get("SecretAccessKey", environment["AWS_SECRET_ACCESS_KEY"]),
        aws_session_token=keys.get("SessionToken"),
        config=Config(retries={"max_attempts": 0}, max_pool_connections=16, parameter_validation=False),
    )


def create_role(cloud: Cloud, name: str, policy: Any = None) -> str:
    """Create a role, with one inline policy, and give its ARN."""
    iam = make_client(cloud, "iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}')
    if policy:
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    return role["Role"]["Arn"]


def create_function(cloud: Cloud, name: str, source: str = HANDLER, **options: Any) -> Any:
    """Create a function with a first version, and give a client."""
    client = make_client(cloud, "lambda")
    client.create_function(
        FunctionName=name,
        Role=create_role(cloud, name),
        Runtime="python3.11",
        Handler="handler.answer",
        Code={"ZipFile": pack(source)},
        Publish=True,
        **options,
    )
    return client


def invoke(client: Any, name: str, qualifier: str = "$LATEST", **event: Any) -> tuple[Any, Any]:
    """Invoke a function, and give the answer and its payload."""
    answer = client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event))
    return answer, json.loads(answer["Payload"].read())
