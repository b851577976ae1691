"""An object store on loopback, for tests: moto's server in a thread, with one bucket, and the environment that leads clients to it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import pytest

BUCKET = "lake"


@contextmanager
def s3_store() -> Iterator[Callable[[str], dict[str, bytes]]]:
    """Yields what gives the files below a prefix, by name, as another client sees them. Skips where moto or s3fs is not installed."""
    server_of = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import boto3

    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    names = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    try:
        with mock.patch.dict(os.environ, names):
            client = boto3.client("s3")
            client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

            def look(prefix: str) -> dict[str, bytes]:
                listed = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
                keys = [one["Key"] for one in listed]
                return {
                    key.rpartition("/")[2]: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys
                }

            yield look
    finally:
        server.stop()
