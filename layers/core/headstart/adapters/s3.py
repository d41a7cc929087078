"""Archives as objects of S3, written and read by presigned URL so that sandboxes need no key."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from headstart.adapters.aws import error_code, translated
from headstart.domain.errors import ServiceUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_URL_SECONDS = 900
_DELETE_ROUNDS = 20
_DELETE_AT_ONCE = 1000
"""DeleteObjects takes 1000 keys ("DeleteObjects", S3 API reference)."""


class S3Objects:
    """The Objects port on one bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def presign_put(self, key: str, size: int, sha256: str) -> tuple[str, dict[str, str]]:
        """Return a URL that takes exactly that content, with length and checksum signed."""
        with translated():
            url = self._client.generate_presigned_url(
                "put_object",
                Params={
                    "Bucket": self._bucket,
                    "Key": key,
                    "ContentLength": size,
                    "ChecksumSHA256": sha256,
                },
                ExpiresIn=_URL_SECONDS,
            )
        return url, {"Content-Length": str(size), "x-amz-checksum-sha256": sha256}

    def presign_get(self, key: str) -> str:
        """Return a URL that gives an object."""
        with translated():
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=_URL_SECONDS
            )

    def is_there(self, key: str, size: int, sha256: str) -> bool:
        """Say whether an object of that size, and of that checksum if S3 knows it, is there."""
        with translated():
            try:
                head = self._client.head_object(
                    Bucket=self._bucket, Key=key, ChecksumMode="ENABLED"
                )
            except ClientError as error:
                if error_code(error) in {"404", "NoSuchKey", "NotFound"}:
                    return False
                raise
        return head["ContentLength"] == size and head.get("ChecksumSHA256", sha256) == sha256

    def delete(self, prefix: str) -> None:
        """Delete every object whose key begins so."""
        with translated():
            for _ in range(_DELETE_ROUNDS):
                page = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=prefix, MaxKeys=_DELETE_AT_ONCE
                )
                keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
                if not keys:
                    return
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": keys, "Quiet": True},  # type: ignore[typeddict-item]
                )
                if answer.get("Errors"):
                    raise ServiceUnavailable("S3 refused to delete some objects")
        raise ServiceUnavailable("objects kept coming while they were deleted")
