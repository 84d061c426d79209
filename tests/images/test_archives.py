"""Hostile and damaged archives are refused with a line, in bounded memory, and nothing is ever extracted."""

import contextlib
import io
import struct
import tarfile
import zipfile

import pytest

from seit.errors import ImageError
from seit.images import open_source

DATA = b"0123456789" * 60


def tar_of(path, *members, data=DATA, format=tarfile.PAX_FORMAT):
    """Writes a tar of (name, type, link name) members."""
    with tarfile.open(path, "w", format=format) as tar:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = len(data) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(data) if member.size else None)
    return path


def refusal(path):
    with pytest.raises(ImageError) as caught:
        open_source(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def unreadable(path):
    """Returns which images cannot be read and why; the account knows them before anything is read."""
    source, reasons = open_source(path), {}
    for image in source:
        try:
            image.read()
        except ImageError as error:
            reasons[image.name], where = error.what, error.where
    assert where == str(path)
    known = {name: reason for reason, group in source.account.unreadable.items() for name in group.names}
    assert known == reasons
    return reasons


@pytest.mark.parametrize("name", ["/etc/cat/1.jpg", "../1.jpg", "a/../../1.jpg", "a/..\\1.jpg", "C:\\x\\1.jpg"])
def test_member_names_that_lead_outside_are_refused(tmp_path, name):
    path = tar_of(tmp_path / "x.tar", ("a/1.jpg", tarfile.REGTYPE, ""), (name, tarfile.REGTYPE, ""))
    assert "unsafe" in refusal(path)
    assert list(tmp_path.iterdir()) == [path]


def test_zip_member_names_that_lead_outside_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../1.jpg", DATA)
    assert "unsafe" in refusal(tmp_path / "x.zip")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_links_and_special_members_are_refused_when_read(tmp_path, kind):
    path = tar_of(tmp_path / "x.tar", ("a/1.jpg", tarfile.REGTYPE, ""), ("a/2.jpg", kind, "/etc/passwd"))
    assert unreadable(path) == {"a/2.jpg": "a link or a special file"}


def test_links_that_are_no_pictures_are_left_alone(tmp_path):
    path = tar_of(tmp_path / "x.tar", ("a/1.jpg", tarfile.REGTYPE, ""), ("a/etc", tarfile.SYMTYPE, "/etc"))
    assert [image.read() for image in open_source(path)] == [DATA]


def test_of_members_with_one_name_the_last_counts_as_when_extracting(tmp_path):
    path = tar_of(tmp_path / "x.tar", ("1.jpg", tarfile.REGTYPE, ""))
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo("1.jpg")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"new"))
    assert [image.read() for image in open_source(path)] == [b"new"]


def test_a_directory_named_like_a_picture_is_none(tmp_path):
    path = tar_of(tmp_path / "x.tar", ("odd.jpg", tarfile.DIRTYPE, ""), ("odd.jpg/1.jpg", tarfile.REGTYPE, ""))
    assert open_source(path).names == ["odd.jpg/1.jpg"]


def test_every_cut_of_a_tar_is_refused_or_reads_whole_members(tmp_path):
    whole = tar_of(tmp_path / "x.tar", *[(f"{n}.jpg", tarfile.REGTYPE, "") for n in range(3)]).read_bytes()
    cut = tmp_path / "cut.tar"
    for length in range(0, 3 * 1536, 64):
        cut.write_bytes(whole[:length])
        with contextlib.suppress(ImageError):
            assert all(image.read() == DATA for image in open_source(cut))


def test_every_cut_of_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("1.jpg", DATA)
    whole = (tmp_path / "x.zip").read_bytes()
    cut = tmp_path / "cut.zip"
    for length in range(0, len(whole), 16):
        cut.write_bytes(whole[:length])
        refusal(cut)


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused_with_the_cure_whatever_its_name(tmp_path, compression):
    with tarfile.open(tmp_path / "x.tar", f"w:{compression}") as tar:
        tar.addfile(tarfile.TarInfo("1.jpg"))
    assert "a compressed tar cannot be read out of order; decompress it first" in refusal(tmp_path / "x.tar")


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0 one JPEG", b"PK\x03\x04", b"x" * 2000, bytes(1024)])
def test_a_file_that_is_no_archive_is_refused(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    refusal(tmp_path / "x")


def zip_with(path, field, value):
    """Writes a deflated member, then overwrites one field of the central directory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(100_000))
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\x01\x02")
    struct.pack_into(field[0], data, start + field[1], value)
    path.write_bytes(data)
    return path


def test_a_member_that_claims_to_be_enormous_is_refused(tmp_path):
    assert "too large" in refusal(zip_with(tmp_path / "x.zip", ("<I", 24), 0xFFFFFFF0))


def test_a_member_that_inflates_to_another_size_is_refused_when_read(tmp_path):
    source = open_source(zip_with(tmp_path / "x.zip", ("<I", 24), 200_000))
    with pytest.raises(ImageError, match=r"x\.zip: 1\.jpg: 100000 of 200000 bytes"):
        source[0].read()
    smaller = open_source(zip_with(tmp_path / "y.zip", ("<I", 24), 10))
    assert len(smaller[0].read()) == 10  # never more than was promised


def test_a_member_outside_the_archive_is_refused(tmp_path):
    assert "behind the archive" in refusal(zip_with(tmp_path / "x.zip", ("<I", 20), 1 << 20))


@pytest.mark.parametrize(("field", "value"), [(("<H", 8), 1), (("<H", 10), 12)])
def test_encrypted_and_oddly_compressed_members_are_refused_when_read(tmp_path, field, value):
    assert unreadable(zip_with(tmp_path / "x.zip", field, value)) == {"1.jpg": "encrypted or oddly compressed"}


def test_damaged_deflate_data_is_refused_when_read(tmp_path):
    path = zip_with(tmp_path / "x.zip", ("<H", 8), 0)
    data = bytearray(path.read_bytes())
    data[36:60] = b"\xff" * 24
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"x\.zip: 1\.jpg: "):
        open_source(path)[0].read()


def test_an_archive_that_vanishes_after_listing_is_named(tmp_path):
    path = tar_of(tmp_path / "x.tar", ("1.jpg", tarfile.REGTYPE, ""))
    source = open_source(path)
    path.unlink()
    with pytest.raises(ImageError, match=r"x\.tar: 1\.jpg: cannot be read"):
        source[0].read()


def test_no_single_wrong_byte_of_a_tar_header_escapes_as_another_error(tmp_path):
    whole = tar_of(tmp_path / "x.tar", ("a/1.jpg", tarfile.REGTYPE, "")).read_bytes()
    for position in range(0, 345, 2):  # the rest of the header is padding
        damaged = bytearray(whole)
        damaged[position] = (0, 0x80, 0xFF)[position % 3]
        (tmp_path / "y.tar").write_bytes(damaged)
        with contextlib.suppress(ImageError):
            for image in open_source(tmp_path / "y.tar"):
                image.read()
