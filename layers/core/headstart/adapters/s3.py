"""Archives as objects of S3, written and read by presigned URL so that sandboxes need no key."""

from contextlib import closing
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from headstart.adapters.aws import error_code, translated
from headstart.domain.archive import StoredFile
from headstart.domain.errors import ServiceUnavailable
from headstart.usecases.ports import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_URL_SECONDS = 900
_PAGES = 20
_GONE = {"404", "NoSuchKey", "NotFound"}
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

    def read(self, key: str, most: int) -> bytes | None:
        """Return a small object, None for one that is gone or has more than `most` bytes."""
        with translated():
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if error_code(error) in _GONE:
                    return None
                raise
            with closing(found["Body"]) as body:
                text = body.read(most + 1)
        return text if len(text) <= most else None

    def is_there(self, file: StoredFile) -> bool:
        """Say whether an object of that size, and of that checksum if S3 knows it, is there."""
        with translated():
            try:
                head = self._client.head_object(
                    Bucket=self._bucket, Key=file.key, ChecksumMode="ENABLED"
                )
            except ClientError as error:
                if error_code(error) in _GONE:
                    return False
                raise
        sha256 = head.get("ChecksumSHA256", file.sha256)
        return head["ContentLength"] == file.bytes and sha256 == file.sha256

    def copy(self, source: str, target: StoredFile) -> bool:
        """Have S3 copy an object, with a checksum of its own, and look at what came of it.

        False for one that is gone, or is not what it should be.
        """
        with translated():
            try:
                self._client.copy_object(
                    Bucket=self._bucket,
                    Key=target.key,
                    CopySource={"Bucket": self._bucket, "Key": source},
                    ChecksumAlgorithm="SHA256",
                )
            except ClientError as error:
                if error_code(error) in _GONE:
                    return False
                raise
        if not self.is_there(target):
            self.drop(target.key)
            return False
        return True

    def listed(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose keys begin so, page by page."""
        found: list[StoredObject] = []
        more: dict[str, str] = {}
        with translated():
            for _ in range(_PAGES):
                page = self._client.list_objects_v2(
                    Bucket=self._bucket,
                    Prefix=prefix,
                    **more,  # type: ignore[arg-type]
                )
                found += [
                    StoredObject(
                        key=item["Key"], bytes=item["Size"], written_at=item["LastModified"]
                    )
                    for item in page.get("Contents", [])
                ]
                if "NextContinuationToken" not in page:
                    break
                more = {"ContinuationToken": page["NextContinuationToken"]}
        return found

    def drop(self, key: str) -> None:
        """Delete one object."""
        with translated():
            self._client.delete_object(Bucket=self._bucket, Key=key)

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
