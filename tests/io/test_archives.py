"""Folders, zips and tars of structure files in any mixture; hostile and damaged archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("gemmi")
pytest.importorskip("pyarrow")

from cgfast.io import cif as cif_reader
from cgfast.io import read, tar_stream
from cgfast.io.file_ids import IdsAsTheyCome, unique_ids
from tests.io.cifs import cif
from tests.io.oracles import everything, ids, real_crystals

if TYPE_CHECKING:
    from pathlib import Path

CIF = cif("Na1 Na 0 0 0").encode()
POSCAR = b"x\n1\n4 0 0\n0 4 0\n0 0 4\nK\n1\nDirect\n0 0 0\n"
XYZ = b'1\nLattice="4 0 0 0 4 0 0 0 4" gap=1.5\nRb 0 0 0\n'
TREE = {
    "a.cif": CIF,
    "b/c.cif.gz": gzip.compress(CIF),
    "b/mp-1/POSCAR": POSCAR,
    "b/mp-1/CONTCAR.bz2": bz2.compress(POSCAR),
    "d.vasp": POSCAR,
    "e.extxyz.xz": lzma.compress(XYZ * 2),
    "README.md": b"no crystal",
    ".hidden.cif": CIF,
    "__MACOSX/._a.cif": b"junk",
    "Thumbs.db": b"junk",
}
IDS = ["a", "c", "mp-1/CONTCAR", "mp-1/POSCAR", "d", "e:0", "e:1"]
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in files.items():
            z.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, Any], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> Path:
    """A tar; a member that is no bytes says what is set in its header."""
    with tarfile.open(path, mode, format=form) as t:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            data = b""
            if isinstance(content, bytes):
                info.size, data = len(content), content
            else:
                for key, value in content.items():
                    setattr(info, key, value)
            t.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("only", [None, "cif", "poscar", "extxyz"])
def test_a_mixed_tree_on_disk_in_a_zip_and_in_tars(only: str | None, tmp_path: Path) -> None:
    expected = {None: IDS, "cif": ["a", "c"], "poscar": ["mp-1/CONTCAR", "mp-1/POSCAR", "d"], "extxyz": ["e:0", "e:1"]}[only]
    sources = [folder(tmp_path / "in", TREE), zipped(tmp_path / "x.zip", TREE)]
    dotted = {f"./{name}": content for name, content in sorted(TREE.items())}
    for mode, suffix in (("w", "tar"), ("w:gz", "tar.gz"), ("w:bz2", "tbz2"), ("w:xz", "tar.xz")):
        sources.append(tarred(tmp_path / f"x.{suffix}", dotted, mode))
    (tmp_path / "tar_without_suffix").write_bytes((tmp_path / "x.tar.gz").read_bytes())
    sources.append(tmp_path / "tar_without_suffix")
    for source in sources:
        crystals, failures = everything(source, format=only)
        assert failures == []
        assert crystals.ids.tolist() == expected
        reader = read(source, format=only)
        assert reader.files
        n_files = len([name for name in expected if name != "e:1"])
        assert reader.n_rows_estimate == (n_files if source.name in {"in", "x.zip"} else None)
        assert reader.describe()["crystals"] == len(expected)


def test_the_same_crystals_from_every_container(data: Path, tmp_path: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    files = {}
    for k, atoms in enumerate(real_crystals(data, 60).to_ase()):
        kind = ("cif", "vasp", "extxyz")[k % 3]
        buffer: Any = io.BytesIO() if kind == "cif" else io.StringIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ase_io.write(buffer, atoms, format=kind)
        text = buffer.getvalue()
        files[f"d{k % 4}/{k:03d}.{kind}"] = text if isinstance(text, bytes) else text.encode()
    files = dict(sorted(files.items()))
    first, failures = everything(folder(tmp_path / "in", files))
    assert failures == []
    assert len(first) == 60
    assert everything(zipped(tmp_path / "x.zip", files))[0] == first
    for form in FORMATS:
        assert everything(tarred(tmp_path / "x.tar.gz", files, "w:gz", form))[0] == first


def test_kept_columns_from_archives(tmp_path: Path) -> None:
    for source in (zipped(tmp_path / "x.zip", TREE), tarred(tmp_path / "x.tar", dict(sorted(TREE.items())))):
        (batch,) = read(source, keep=["gap", "comment"]).batches()
        assert batch.columns.to_pydict() == {"gap": [None] * 5 + [1.5] * 2, "comment": [None, None, "x", "x", "x", None, None]}
        with pytest.raises(ValueError, match="no property nope"):
            read(source, keep=["nope"])
    with pytest.raises(ValueError, match=r"CIF files .* have none"):
        read(zipped(tmp_path / "y.zip", {"a.cif": CIF}), keep=["gap"])


HOSTILE: dict[str, Any] = {
    "/etc/x1.cif": (CIF, "leads out"),
    "../x2.cif": (CIF, "leads out"),
    "a/../../x3.cif": (CIF, "leads out"),
    "C:/x4.cif": (CIF, "leads out"),
    "x5.cif": ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "it is a link"),
    "x6.cif": ({"type": tarfile.LNKTYPE, "linkname": "good.cif"}, "it is a link"),
    "x7.cif": ({"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}, "it is a device"),
    "x8.vasp": ({"type": tarfile.FIFOTYPE}, "it is a pipe"),
    "x9.cif.gz": (gzip.compress(CIF)[:-20], "cannot be read"),
    "x10.cif.gz": (b"\x1f\x8bjunk", "cannot be read"),
    "x11.cif": (b"\0" * 100, "x11|no data block|gemmi"),
    "x12.cif": (b"", "the file is empty"),
    "x13.cif.bz2": (b"BZhjunk", "cannot be read"),
    "x14.extxyz.xz": (lzma.compress(XYZ * 9)[:60], "cannot be read|ended"),
}


def test_hostile_members_are_failures_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "here"
    inside.mkdir()
    monkeypatch.chdir(inside)
    members = {"good.cif": CIF} | {name: content for name, (content, _) in HOSTILE.items()} | {"last.cif": CIF}
    tar = tarred(tmp_path / "x.tar", members)
    plain = {name: content for name, content in members.items() if isinstance(content, bytes)}
    archive = zipped(tmp_path / "x.zip", plain)
    with zipfile.ZipFile(archive, "a") as z:
        link = zipfile.ZipInfo("x5.cif")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        z.writestr(link, "/etc/passwd")
    for source, names in ((tar, set(HOSTILE)), (archive, {*plain, "x5.cif"} - {"good.cif", "last.cif"})):
        crystals, failures = everything(source)
        assert crystals.ids.tolist() == ["good", "last"]
        found = {failure.id.rsplit("/", 1)[-1]: failure.reason for failure in failures}
        assert len(failures) == len(names)
        for name in names:
            stem = name.rsplit("/", 1)[-1].split(".")[0]
            assert re.search(HOSTILE[name][1], found[stem]), (name, found[stem])
    assert list(inside.iterdir()) == []


def test_bombs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cif_reader, "MAX_BYTES", 1 << 20)
    zeros = gzip.compress(b" " * (40 << 20))
    asked = []
    whole = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: asked.append(size) or whole(self, size))
    files = {"a.cif.gz": zeros, "b.cif": b" " * (40 << 20), "c.vasp.gz": zeros, "d.cif": CIF}
    for source in (zipped(tmp_path / "x.zip", files), tarred(tmp_path / "x.tar", files), folder(tmp_path / "in", files)):
        crystals, failures = everything(source)
        assert crystals.ids.tolist() == ["d"]
        assert [failure.id for failure in failures] == ["a", "b", "c"]
    assert asked
    assert 0 < min(asked) <= max(asked) <= cif_reader.MAX_BYTES + (64 << 20) + 1


@pytest.mark.parametrize("form", FORMATS)
def test_long_names_and_names_of_any_bytes(form: int, tmp_path: Path) -> None:
    files = {"d/" * 60 + "a.cif": CIF, "Grüße.cif": CIF, "x" * 90 + "/" + "y" * 90 + ".cif": CIF, "b.cif": CIF}
    if form == tarfile.USTAR_FORMAT:
        files.pop("x" * 90 + "/" + "y" * 90 + ".cif")
    names = [entry.path for entry in tar_stream.members(tarred(tmp_path / "x.tar", files, "w", form))]
    assert names == list(files)
    with tarfile.open(tmp_path / "y.tar", "w", format=form, encoding="latin-1") as t:
        info = tarfile.TarInfo("\xfc.cif")
        info.size = len(CIF)
        t.addfile(info, io.BytesIO(CIF))
    (name,) = ids(tmp_path / "y.tar")
    assert name in {"\xfc", "\\xfc"}


def test_what_tarfile_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files: dict[str, Any] = {f"d{k}/n{k}.cif": rng.bytes(int(rng.integers(0, 3000))) for k in range(200)}
    files |= {"dir": {"type": tarfile.DIRTYPE}, "other": {"type": b"V"}, "exact": bytes(1024)}
    for form in FORMATS:
        path = tarred(tmp_path / "x.tar", files, "w", form)
        with tarfile.open(path) as t:
            expected = {m.name: t.extractfile(m).read() for m in t if m.isreg()}  # type: ignore[union-attr]
        found = {}
        for k, entry in enumerate(tar_stream.members(path)):
            if not entry.refusal:  # some are left unread, some are read in part
                size = (0, 10, 1 << 20)[k % 3]
                found[entry.path] = (entry.read(size) if size else b"") + expected[entry.path][size:]
        assert found == expected


def _header(name: str, size: bytes, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    raw = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    raw[124:136] = size
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def test_damaged_tars(tmp_path: Path) -> None:
    good = tarred(tmp_path / "good.tar", {f"{k}.cif": CIF for k in range(5)}).read_bytes()
    step = 512 * (1 + -(-len(CIF) // 512))
    cases = {
        "in a member": (good[: 2 * step + 700], ["0", "1"], 2, "ends early"),
        "in a header": (good[: 2 * step + 100], ["0", "1"], 1, "ends early"),
        "between members": (good[: 2 * step], ["0", "1"], 1, "without an end mark"),
        "a header changed": (good[:step] + b"x" + good[step + 1 :], ["0"], 1, "a header makes no sense"),
        "a size of nonsense": (good[:step] + _header("x.cif", b"99999999999\0", b"0"), ["0"], 1, "size makes no sense"),
        "a size below zero": (good[:step] + _header("x.cif", b"\xff" * 12, b"0"), ["0"], 1, "size makes no sense"),
        "a size beyond all": (
            good[:step] + _header("x.bin", b"\x80" + b"\0" * 4 + b"\x7f" * 7, b"0"),
            ["0"],
            1,
            "passed over|sense",
        ),
        "a name of gigabytes": (good[:step] + _header("x", b"77777777777\0", b"L"), ["0"], 1, "a header of 8589934591 bytes"),
        "records of gigabytes": (good[:step] + _header("x", b"77777777777\0", b"x"), ["0"], 1, "a header of 8589934591 bytes"),
        "records of nonsense": (
            good[:step] + _header("x", b"00000000010\0", b"x") + b"9" * 512,
            ["0"],
            1,
            "a pax header makes no sense",
        ),
        "no tar": (b"x" * 5000, [], 1, "it is no tar"),
        "no structures": (tarred(tmp_path / "none.tar", {"a.txt": b"x"}).read_bytes(), [], 1, "holds no .cif or"),
    }
    for name, (content, names, n_failures, reason) in cases.items():
        path = tmp_path / "bad.tar"
        path.write_bytes(content)
        crystals, failures = everything(path)
        assert crystals.ids.tolist() == names, name
        assert len(failures) == n_failures, name
        assert re.search(reason, failures[-1].reason), (name, failures[-1].reason)
    packed = gzip.compress(good)
    (tmp_path / "bad.tar.gz").write_bytes(packed[: len(packed) - 30])
    crystals, failures = everything(tmp_path / "bad.tar.gz")
    assert "cannot be read beyond" in failures[-1].reason
    (tmp_path / "empty.tar").write_bytes(b"")
    with pytest.raises(ValueError, match="it is empty"):
        read(tmp_path / "empty.tar")


def test_sparse_members_are_refused(tmp_path: Path) -> None:
    raw = bytearray(_header("s.cif", b"00000000000\0", b"S"))
    raw[482] = 1
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    rest = tarred(tmp_path / "x.tar", {"a.cif": CIF}).read_bytes()
    (tmp_path / "s.tar").write_bytes(bytes(raw) + bytes(512) + rest)
    crystals, failures = everything(tmp_path / "s.tar")
    assert crystals.ids.tolist() == ["a"]
    assert [failure.reason.split(": ")[-1] for failure in failures] == ["it is a sparse file"]


def test_ids_of_files() -> None:
    assert unique_ids(["x/a.cif", "y/b.CIF.gz", "y/c.vasp"]) == ["a", "b", "c"]
    assert unique_ids(["x/a.cif", "y/a.cif", "y/b.cif"]) == ["x/a", "y/a", "b"]
    assert unique_ids(["a.cif", "a.vasp", "b.cif", "b.cif"]) == ["a.cif", "a.vasp", "b", "b#2"]
    assert unique_ids(["1/POSCAR", "2/POSCAR", "2/CONTCAR"]) == ["1/POSCAR", "2/POSCAR", "2/CONTCAR"]
    come = IdsAsTheyCome()
    assert [come.of(name) for name in ("./x/a.cif", "y/a.cif", "y/a.vasp", "y/a.cif", "y/a.cif")] == [
        "a",
        "y/a",
        "y/a.vasp",
        "y/a.cif",
        "y/a.cif#2",
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draws=st.data())
def test_damaged_archives_never_raise(draws: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(tarred(tmp_path / "x.tar", {f"{k}.vasp": POSCAR for k in range(4)}, "w").read_bytes())
    for _ in range(draws.draw(st.integers(1, 4))):
        at = draws.draw(st.integers(0, 4000))
        part = draws.draw(st.binary(min_size=1, max_size=4))
        content[at : at + len(part)] = part
    (tmp_path / "y.tar").write_bytes(content)
    crystals, failures = everything(tmp_path / "y.tar")
    assert 1 <= len(crystals) + len(failures) <= 5
