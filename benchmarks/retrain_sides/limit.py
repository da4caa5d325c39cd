"""What an unchanged re-run cannot do without: one listing and one manifest read, in a fresh process.

python limit.py ENDPOINT BUCKET PREFIX MANIFEST_BUCKET MANIFEST_PREFIX
"""

from __future__ import annotations

import sys

import boto3

if __name__ == "__main__":
    endpoint, bucket, prefix, store, manifests = sys.argv[1:]
    client = boto3.client("s3", endpoint_url=endpoint)
    client.list_objects_v2(Bucket=bucket, Prefix=prefix)
    found = client.list_objects_v2(Bucket=store, Prefix=manifests, MaxKeys=1)["Contents"][0]["Key"]
    client.get_object(Bucket=store, Key=found)["Body"].read()
