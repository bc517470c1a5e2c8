"""The comparison of the packages finds what differs."""

import dataclasses
import os
import sys

import pytest
from tools import ROOT, need, run

sys.path.insert(0, os.path.join(ROOT, "tests", "packages"))
import compare  # noqa: E402  (found only through the line above)

FILE = compare.Entry("file", "0o640", "root:llm-proxy", True, "aa")
FOLDER = compare.Entry("directory", "0o755", "root:root", False)
PACKAGE = {"/etc/x": FOLDER, "/etc/x/x.conf": FILE}


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    monkeypatch.setattr(compare, "MOVED", [])
    monkeypatch.setattr(compare, "KNOWN", [])


def problems(rpm, deb):
    return compare.compare(rpm, deb, compare.DEB).problems


def changed(**change):
    return {**PACKAGE, "/etc/x/x.conf": dataclasses.replace(FILE, **change)}


def test_the_same_differs_in_nothing():
    assert problems(PACKAGE, {**PACKAGE, "/etc": FOLDER, "/": FOLDER}) == []


@pytest.mark.parametrize("what, change", [
    ("kind", {"kind": "link to y"}), ("mode", {"mode": "0o644"}),
    ("owner", {"owner": "root:root"}), ("settings", {"settings": False}),
    ("bytes", {"digest": "bb"})])
def test_each_difference_is_named(what, change):
    for rpm, deb in ((PACKAGE, changed(**change)),
                     (changed(**change), PACKAGE)):
        assert [line.split(" in the rpm")[0].split()[:2]
                for line in problems(rpm, deb)] == [["/etc/x/x.conf:", what]]


def test_what_only_one_has_is_named():
    less = {"/etc/x": FOLDER}
    assert problems(PACKAGE, less) == ["/etc/x/x.conf: only in the rpm"]
    assert problems(less, PACKAGE) == ["/etc/x/x.conf: only in the deb"]
    # An empty folder is there for its own sake.
    assert problems({}, less) == ["/etc/x: only in the deb"]


def test_a_known_difference_is_one_of_its_kind_only():
    compare.KNOWN.append(((compare.DEB,), "/etc/x/.*", "mode", "for the test"))
    assert problems(PACKAGE, changed(mode="0o644")) == []
    assert len(problems(PACKAGE, changed(owner="root:root"))) == 2


def test_a_row_without_use_is_named():
    compare.MOVED.append(((compare.DEB,), "^/lib/", "/usr/lib/", "for the test"))
    assert problems(PACKAGE, PACKAGE) == [
        "nothing needs the row '^/lib/' any more"]
    assert problems({**PACKAGE, "/usr/lib/y": FILE},
                    {**PACKAGE, "/lib/y": FILE}) == []


CONTROL = """Package: x
Version: 1
Architecture: all
Maintainer: X <x@x.example>
Description: for the test
"""
SPEC = """Name: x
Version: 1
Release: 1
Summary: For the test
License: MIT
BuildArch: noarch
%description
For the test.
%install
mkdir -p %{buildroot}
cp -a FOLDER/etc FOLDER/usr %{buildroot}
%files
%dir %attr(0750,root,root) /etc/x
%config(noreplace) %attr(0640,root,root) /etc/x/x.conf
/usr/bin/x
"""


@pytest.fixture
def folder(tmp_path):
    """A tree of which both kinds of package are made."""
    top = tmp_path / "folder"
    (top / "etc/x").mkdir(parents=True)
    (top / "usr/bin").mkdir(parents=True)
    (top / "etc/x/x.conf").write_text("a=b\n", encoding="ascii")
    (top / "etc/x/x.conf").chmod(0o640)
    (top / "etc/x").chmod(0o750)
    (top / "usr/bin/x").symlink_to("../../etc/x/x.conf")
    return top


def made_rpm(folder, tmp_path):
    spec = tmp_path / "x.spec"
    spec.write_text(SPEC.replace("FOLDER", str(folder)), encoding="ascii")
    status, text = run([need("rpmbuild"), "--define", f"_topdir {tmp_path}",
                        "--define", f"_tmppath {tmp_path}", "--dbpath",
                        str(tmp_path / "db"), "-bb", str(spec)])
    assert status == 0, text
    return compare.read_rpm(next(tmp_path.glob("RPMS/*/*.rpm")))


def made_deb(folder, tmp_path):
    (folder / "DEBIAN").mkdir()
    (folder / "DEBIAN/control").write_text(CONTROL, encoding="ascii")
    (folder / "DEBIAN/conffiles").write_text("/etc/x/x.conf\n",
                                             encoding="ascii")
    path = tmp_path / "x.deb"
    status, text = run([need("dpkg-deb"), "--root-owner-group", "--build",
                        str(folder), str(path)])
    assert status == 0, text
    return compare.read_deb(path)


def test_both_kinds_of_package_are_read_alike(folder, tmp_path):
    rpm = made_rpm(folder, tmp_path)
    entry = rpm["/etc/x/x.conf"]
    assert (entry.kind, entry.mode, entry.settings) == ("file", "0o640", True)
    assert rpm["/usr/bin/x"].kind == "link to ../../etc/x/x.conf"
    assert problems(rpm, compare.read_folder(str(folder))) == []
    assert problems(rpm, made_deb(folder, tmp_path)) == []
