"""Bytes in a folder and in a bucket: the same promises, and one kind of trouble."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from store.objects import NoSuchObject, Objects, ObjectsAway
from store.settings import Settings, WrongSetting
from tests.fakes.buckets import BucketFake, bucket


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BucketFake]:
    async with bucket() as one:
        for name, value in {"ENDPOINT_URL": one.address, "ALLOW_HTTP": "true", "REGION": "eu-central-1", "SECRET_ACCESS_KEY": "s"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield one


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Objects]:
    def opened(who: str) -> Objects:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", who)
        objects = Objects(Settings.read(artifacts="s3://files/hub/one"))
        assert objects._store is not None  # what the environment says is read now
        return objects

    return opened


async def read(objects: Objects, key: str) -> bytes:
    found = await objects.get(key)
    whole = b"".join([one async for one in found.chunks])
    assert found.size == len(whole)
    return whole


async def test_a_folder(tmp_path: Path) -> None:
    objects = Objects(Settings.read(data_dir=tmp_path))
    with pytest.raises((NoSuchObject, ObjectsAway)):
        await objects.get("r/a")
    await objects.put("r/a", b"one")
    await objects.put("r/a", bytes(3_000_000))
    assert await read(objects, "r/a") == bytes(3_000_000)
    assert (tmp_path / "artifacts").stat().st_mode & 0o777 == 0o700
    for _ in range(2):
        await objects.delete("r/a")
    with pytest.raises(NoSuchObject):
        await objects.get("r/a")


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file")
    objects = Objects(Settings.read(data_dir=tmp_path))
    with pytest.raises(ObjectsAway):
        await objects.put("r/a", b"one")


async def test_a_bucket_that_the_web_may_only_read(fake: BucketFake, opened: Callable[[str], Objects]) -> None:
    worker, web = opened("worker"), opened("web")
    await worker.put("r/a", b"one")
    assert fake.stored == {"/files/hub/one/r/a": b"one"}
    assert await read(web, "r/a") == b"one"
    for tried in (lambda: web.put("r/a", b"two"), lambda: web.delete("r/a"), lambda: opened("stranger").get("r/a")):
        with pytest.raises(ObjectsAway) as told:
            await tried()
        assert "\n" not in str(told.value)
    assert fake.stored == {"/files/hub/one/r/a": b"one"}
    await worker.delete("r/a")
    with pytest.raises(NoSuchObject):
        await web.get("r/a")


async def test_a_bucket_that_stumbles_is_asked_again(fake: BucketFake, opened: Callable[[str], Objects]) -> None:
    fake.broken = 2
    await opened("worker").put("r/a", b"one")
    assert fake.stored == {"/files/hub/one/r/a": b"one"}


@pytest.mark.parametrize("wrong", ["gs://bucket", "s3://", "s3://key:secret@bucket", "https://bucket.example.test", "s3://bucket?x=1"])
def test_a_place_that_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(WrongSetting, match=r"COUNTERSIGN_ARTIFACTS: should be a folder, or a bucket .*\(for instance s3://bucket/prefix\)"):
        Settings.read(artifacts=wrong)
