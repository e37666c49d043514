"""An S3 storage of this machine's in a process of its own: it verifies each request's signature (moto, by IAM's keys)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Self

BUCKET, REGION = "otobot", "eu-west-3"
_SERVE = """
import contextlib, json, logging, os, sys
for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
    os.environ.pop(name, None)
os.environ.update(INITIAL_NO_AUTH_ACTION_COUNT="4", AWS_ACCESS_KEY_ID="nobody", AWS_SECRET_ACCESS_KEY="nothing")
import boto3
from moto.server import ThreadedMotoServer
logging.basicConfig(filename=sys.argv[1], level=logging.INFO)
server = ThreadedMotoServer("127.0.0.1", 0)
with contextlib.redirect_stdout(sys.stderr):
    server.start()
host, port = server.get_host_and_port()
about = {"endpoint_url": "http://127.0.0.1:%d" % port, "region_name": sys.argv[3]}
iam, s3 = boto3.client("iam", **about), boto3.client("s3", **about)
iam.create_user(UserName="host")
allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
iam.put_user_policy(UserName="host", PolicyName="all", PolicyDocument=policy)
key = iam.create_access_key(UserName="host")["AccessKey"]
s3.create_bucket(Bucket=sys.argv[2], CreateBucketConfiguration={"LocationConstraint": sys.argv[3]})
print(json.dumps({"port": port, "access": key["AccessKeyId"], "secret": key["SecretAccessKey"]}), flush=True)
sys.stdin.read()
"""


class Storage:
    """It serves while this is entered. `access` and `secret` may do everything there; nobody else may do anything."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> Self:
        argv = [sys.executable, "-W", "ignore", "-c", _SERVE, str(self._log), BUCKET, REGION]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._process.communicate()[1]
            raise RuntimeError(f"the storage did not start: {said}")
        told = json.loads(line)
        self.port: int = told["port"]
        self.access: str = told["access"]
        self.secret: str = told["secret"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)  # its stdin ends

    def repository(self, bucket: str = BUCKET) -> str:
        """As restic and the manifest write it."""
        return f"s3:http://127.0.0.1:{self.port}/{bucket}/acme"

    def requests(self) -> list[str]:
        """What was asked, such as "GET /otobot/acme/config"."""
        return [line for line in self._log.read_text().splitlines() if "HTTP/1.1" in line]
