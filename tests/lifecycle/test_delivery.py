"""What a deploy stands on: the alias and its description, the lease, and the answers that a version must know."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import boto3
import pyarrow as pa
import pytest
import readings
from botocore.exceptions import ClientError
from functions import build, create_service, open_cloud

from lifecycle.delivery.answers import make_rows, read_models
from lifecycle.delivery.lease import KEY, hold_lease
from lifecycle.delivery.service import Measured, Service
from lifecycle.errors import RefusedError
from rehearsal.cloud.server import Cloud


@pytest.fixture(name="cloud", scope="module")
def fixture_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """AWS on loopback."""
    with open_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(name="born")
def fixture_born(cloud: Cloud, tmp_path: Path) -> Iterator[Service]:
    """A function whose only version no deploy published."""
    assert cloud
    with create_service(build(tmp_path, "v1.0.0"), description="born") as service:
        yield service


def test_version_that_no_deploy_published_has_no_name_and_no_latency(born: Service) -> None:
    born.invoke("1", {"body": json.dumps({"rows": []})})

    assert born.name_release("1") is None
    assert born.measure("1", time.time()) == Measured(0, 0, None)


def test_first_version_has_none_to_go_back_to(born: Service) -> None:
    before = born.read_alias()

    with pytest.raises(RefusedError, match="version 1 is the first that served; there is none to go back to"):
        born.roll_back()

    assert born.read_alias() == before


def test_canary_keeps_the_moment_at_which_it_got_its_share(born: Service, tmp_path: Path) -> None:
    release = build(tmp_path, "v1.1.0")
    version = born.publish(release.path, release.sha256, release.name)

    start = born.start_canary(version, 0.2)
    before = born.read_alias()

    # The deploy was killed, and this is the next one.
    assert born.start_canary(version, 0.2) == pytest.approx(start, abs=0.001)
    assert born.read_alias() == before
    assert before.weights == {version: 0.2}


def test_one_deploy_at_a_time_and_the_other_learns_who(cloud: Cloud) -> None:
    assert cloud
    with hold_lease("bundles", "run 7", 60):
        with pytest.raises(RefusedError, match="run 7 deploys already"), hold_lease("bundles", "run 8", 60):
            pass
    with hold_lease("bundles", "run 8", 60):
        pass


def test_lease_of_a_deploy_that_was_killed_runs_out(cloud: Cloud) -> None:
    assert cloud
    entry = json.dumps({"holder": "killed", "until": time.time() - 1})
    boto3.client("s3").put_object(Bucket="bundles", Key="deploy.lease", Body=entry)

    with hold_lease("bundles", "next", 60):
        pass

    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="bundles", Prefix="deploy.lease")


def test_lease_that_somebody_took_over_in_the_meantime_stays_theirs(cloud: Cloud) -> None:
    assert cloud
    store = boto3.client("s3")
    theirs = json.dumps({"holder": "run 8", "until": time.time() + 60})

    with hold_lease("bundles", "run 7", 60):
        store.put_object(Bucket="bundles", Key=KEY, Body=theirs)

    assert store.get_object(Bucket="bundles", Key=KEY)["Body"].read().decode() == theirs
    store.delete_object(Bucket="bundles", Key=KEY)


def test_lease_in_a_bucket_that_does_not_exist_is_not_held(cloud: Cloud) -> None:
    assert cloud
    with pytest.raises(ClientError, match="NoSuchBucket"), hold_lease("none", "run 7", 60):
        pytest.fail("the lease is held")


def test_sample_without_a_clean_row_gives_no_answers() -> None:
    def generate_month(month: str, rows: int, seed: int) -> pa.Table:
        table = readings.generate_month(month, rows, seed)
        return table.set_column(1, "size", pa.array([-1.0] * rows))

    domain = SimpleNamespace(**vars(readings) | {"generate_month": generate_month})

    with pytest.raises(RefusedError, match="none of 200 rows of the sample meets the data contract"):
        make_rows("2024-01", 1, domain)


def test_bundle_without_a_model_is_told(tmp_path: Path) -> None:
    release = build(tmp_path, "v1.0.0")

    with pytest.raises(RefusedError, match="v1.0.0.zip holds no model: .*; build it anew with: make bundle"):
        read_models(release.path)
