"""What the rehearsal does around Terraform: other keys stay out, and buckets end empty."""

from pathlib import Path

import pytest

from rehearsal.cloud.server import serve_cloud
from rehearsal.terraform import empty_bucket, hide_keys
from tests.rehearsal.clouds import make_client


def test_keys_and_settings_of_this_machine_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "TF_VAR_region", "TF_LOG"):
        monkeypatch.setenv(name, "mine")

    hidden = hide_keys({"AWS_ACCESS_KEY_ID": "given"})

    assert "mine" not in hidden.values()
    assert hidden["AWS_ACCESS_KEY_ID"] == "given"


def test_bucket_of_more_objects_than_one_answer_lists_is_emptied(tmp_path: Path) -> None:
    with serve_cloud(tmp_path, in_background=False) as cloud:
        store = make_client(cloud, "s3")
        store.create_bucket(Bucket="full", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        for number in range(1005):
            store.put_object(Bucket="full", Key=f"key-{number}", Body=b"")

        empty_bucket(store, "full")

        assert "Versions" not in store.list_object_versions(Bucket="full")
