"""An object store on loopback, for tests: moto's server in a thread, with one bucket, and the environment that leads clients to it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import httpx
import pytest

BUCKET = "lake"
REGION = "eu-central-1"


class Bucket:
    """As another client sees it."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def make(self) -> None:
        self._client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})

    def drop(self) -> None:
        """An empty one."""
        self._client.delete_bucket(Bucket=BUCKET)

    def files(self, prefix: str) -> dict[str, bytes]:
        """Below a prefix, by their last name."""
        listed = self._client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        bodies = {one["Key"]: self._client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"] for one in listed}
        return {key.rpartition("/")[2]: body.read() for key, body in bodies.items()}


@contextmanager
def s3_store() -> Iterator[Bucket]:
    """Skips where moto or s3fs is not installed."""
    server_of = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import boto3

    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    httpx.post(
        f"http://{host}:{port}/moto-api/reset", trust_env=False
    )  # servers of one process have their buckets in common
    names = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": REGION,
    }
    try:
        with mock.patch.dict(os.environ, names):
            bucket = Bucket(boto3.client("s3"))
            bucket.make()
            yield bucket
    finally:
        server.stop()
