#!/usr/bin/env python3
"""Compares what two packages put where.

    tests/packages/compare.py RPM DEB|FOLDER

FOLDER is where `make install DESTDIR=FOLDER` has put it, for /usr/local.
Paths, kinds, modes, owners, links, which files are settings that an upgrade
leaves alone, and the bytes of all but programs and compressed pages. What
differs on purpose stands in MOVED and KNOWN, with the reason. A row that
nothing needs any more is an error like any other difference.
"""

import argparse
import hashlib
import os
import re
import stat
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field

DEB = "the deb"
FOLDER = "the folder"
ANY = (DEB, FOLDER)

# (in which, pattern, what it is in the rpm, why)
MOVED = [
    ((DEB,), r"^/lib/systemd(?=/|$)", "/usr/lib/systemd",
     "Debian 12 keeps units outside /usr"),
    ((DEB,), r"/zsh/vendor-completions(?=/|$)", "/zsh/site-functions",
     "Debian's name for what packages bring"),
    ((DEB,), r"(/share/doc/llm-proxy)/examples(?=/(caddy|haproxy)(/|$))",
     r"\1", "Debian's policy has a folder for examples"),
    ((DEB,), r"(/share/doc/llm-proxy)/examples(?=/nginx\.conf$)",
     r"\1/nginx", "the same, for what includes its snippets"),
    ((DEB,), r"^/etc/nginx(?=/|$)", "/usr/share/doc/llm-proxy/nginx",
     "Debian's nginx has a folder for snippets, Fedora's has none"),
    ((FOLDER,), r"^/usr/local(?=/|$)", "/usr",
     "what comes in no package has a place of its own"),
    ((FOLDER,), r"(/share/man/man\d/[^/]*\d)$", r"\1.gz",
     "packages compress manual pages"),
]
# (in which, pattern of the rpm's path, what differs, why)
KNOWN = [
    (ANY, r"/usr/lib/\.build-id.*", "only in the rpm",
     "rpm finds a program's debug information by them"),
    (ANY, r"/usr/share/licenses/.*", "only in the rpm",
     "Debian's place for the licence is doc/copyright"),
    (ANY, r".*/README\.SELinux", "only in the rpm",
     "Debian comes with AppArmor"),
    ((FOLDER,), r"/usr/share/doc/llm-proxy/(README|CHANGES|openai-fields)\.md",
     "only in the rpm", "packages bring them, not `make install`"),
    ((FOLDER,), r"/etc/logrotate\.d/llm-proxy", "only in the rpm",
     "there may be no logrotate"),
    ((FOLDER,), r"/usr/lib/systemd/system/llm-proxyd\.service", "bytes",
     "it names the daemon's path"),
    ((DEB,), r"/usr/lib/systemd/system/llm-proxyd\.service", "bytes",
     "the deb's reads /etc/default/llm-proxyd"),
    (ANY, r"/etc/llm-proxy", "mode", "closed by tmpfiles.d"),
    ((DEB,), r"/etc/llm-proxy(/llm-proxy\.conf)?", "owner",
     "the group is made after unpacking; then tmpfiles.d gives it both"),
    ((DEB,), r"/etc/logrotate\.d/llm-proxy", "bytes",
     "the deb's knows of systems without systemd"),
    ((DEB,), r"/etc/(default|init\.d)(/llm-proxyd)?", "only in the deb",
     "the rpm's systems all have systemd, and drop-ins"),
    ((DEB,), r"/etc/apparmor\.d(/.*)?", "only in the deb",
     "Fedora has SELinux"),
    ((DEB,), r"/usr/share/doc/llm-proxy/nginx/llm-proxy/.*", "settings",
     "in /etc a site may change them"),
    ((DEB,), r"/lib", "only in the deb", "what is left of units outside /usr"),
    ((DEB,), r"/usr/share/lintian(/.*)?", "only in the deb",
     "what Debian's own check is told"),
    ((DEB,), r"/usr/share/doc/llm-proxy/[^/]*\.md", "only in the rpm",
     "Debian compresses them, and CHANGES.md is its changelog"),
    ((DEB,), r"/usr/share/doc/llm-proxy/(copyright|.*\.gz|README\.Debian)",
     "only in the deb", "what Debian's policy asks of a package"),
    ((DEB,), r"/usr/share/doc/llm-proxy/examples(/tokens\.json\.example)?",
     "only in the deb", "the rpm's settings show a token in a comment"),
]


@dataclass
class Entry:
    kind: str            # "file", "directory", "link to TARGET"
    mode: str
    owner: str           # "" where it says nothing, like the next two
    settings: bool | None
    digest: str = ""


@dataclass
class Report:
    where: str
    problems: list = field(default_factory=list)
    used: set = field(default_factory=set)


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def kind_of(mode, target):
    if stat.S_ISLNK(mode):
        return f"link to {target}"
    return "directory" if stat.S_ISDIR(mode) else "file"


def digest_of(path, data):
    """"" for what each package's build compiles or compresses for itself."""
    if data.startswith(b"\x7fELF") or path.endswith(".gz"):
        return ""
    return hashlib.sha256(data).hexdigest()


def read_rpm(package):
    row = ("[%{FILENAMES}\t%{FILEMODES}\t%{FILEUSERNAME}:%{FILEGROUPNAME}\t"
           "%{FILEFLAGS:fflags}\t%{FILEDIGESTS}\t%{FILELINKTOS}\n]")
    entries = {}
    for line in output("rpm", "-qp", "--qf", row,
                       package).decode().splitlines():
        path, mode, owner, flags, digest, target = line.split("\t")
        # rpm prints the mode as a signed number of 16 bits where it is old.
        mode = int(mode) & 0xffff
        entries[path] = Entry(kind_of(mode, target), oct(stat.S_IMODE(mode)),
                              owner, "c" in flags and "n" in flags,
                              "" if path.endswith(".gz") else digest)
    return entries


def read_deb(package):
    settings = set()
    if "conffiles" in output("dpkg-deb", "--ctrl-tarfile", package).decode(
            errors="replace"):
        settings = set(output("dpkg-deb", "--info", package,
                              "conffiles").decode().split())
    entries = {}
    child = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package],
                             stdout=subprocess.PIPE)
    with child, tarfile.open(fileobj=child.stdout, mode="r|") as tar:
        for member in tar:
            path = os.path.normpath("/" + member.name)
            digest = ""
            if member.isfile():
                digest = digest_of(path, tar.extractfile(member).read())
            mode = member.mode | (stat.S_IFLNK if member.issym() else
                                  stat.S_IFDIR if member.isdir() else
                                  stat.S_IFREG)
            entries[path] = Entry(kind_of(mode, member.linkname),
                                  oct(stat.S_IMODE(mode)),
                                  f"{member.uname}:{member.gname}",
                                  path in settings, digest)
    if child.returncode != 0:
        sys.exit(f"{package}: dpkg-deb ended with {child.returncode}")
    return entries


def read_folder(folder):
    entries = {}
    for top, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(top, name)
            mode = os.lstat(path).st_mode
            target = os.readlink(path) if stat.S_ISLNK(mode) else ""
            digest = ""
            if stat.S_ISREG(mode):
                with open(path, "rb") as opened:
                    digest = digest_of(path, opened.read())
            entries[path[len(folder.rstrip("/")):]] = Entry(
                kind_of(mode, target), oct(stat.S_IMODE(mode)), "", None,
                digest)
    return entries


def rows(table, where):
    return [row for row in table if where in row[0]]


def moved(entries, report):
    """The other's entries under the rpm's paths."""
    result = {}
    for path, entry in entries.items():
        for row in rows(MOVED, report.where):
            path, times = re.subn(row[1], row[2], path)
            if times:
                report.used.add(row)
        result[path] = entry
    return result


def differences(ours, theirs):
    """What differs between two entries of the same path."""
    if ours.kind != theirs.kind:
        yield "kind", ours.kind, theirs.kind
    if ours.kind.startswith("link"):
        return
    if ours.mode != theirs.mode:
        yield "mode", ours.mode, theirs.mode
    if theirs.owner and ours.owner != theirs.owner:
        yield "owner", ours.owner, theirs.owner
    if theirs.settings is not None and ours.settings != theirs.settings:
        yield "settings", ours.settings, theirs.settings
    if ours.digest and theirs.digest and ours.digest != theirs.digest:
        yield "bytes", ours.digest, theirs.digest


def judge(path, what, detail, report):
    for row in rows(KNOWN, report.where):
        if what == row[2] and re.fullmatch(row[1], path):
            report.used.add(row)
            return
    report.problems.append(f"{path}: {what}{detail}")


def compare(rpm, other, where):
    report = Report(where)
    other = moved(other, report)
    parents = {path.rsplit("/", 1)[0] or "/" for path in other}
    for path in sorted(rpm.keys() | other.keys()):
        if path not in rpm:
            # The other lists the folders on the way to its files, too.
            if other[path].kind != "directory" or path not in parents:
                judge(path, f"only in {where}", "", report)
        elif path not in other:
            judge(path, "only in the rpm", "", report)
        else:
            for what, ours, theirs in differences(rpm[path], other[path]):
                judge(path, what, f" {ours} in the rpm, {theirs} in {where}",
                      report)
    report.problems += [f"nothing needs the row {row[1]!r} any more"
                        for row in rows(MOVED + KNOWN, where)
                        if row not in report.used]
    return report


def main():
    parser = argparse.ArgumentParser(
        description="Compares what two packages put where.")
    parser.add_argument("rpm")
    parser.add_argument("other", metavar="DEB|FOLDER")
    args = parser.parse_args()
    rpm = read_rpm(args.rpm)
    if os.path.isdir(args.other):
        where, other = FOLDER, read_folder(args.other)
    else:
        where, other = DEB, read_deb(args.other)
    report = compare(rpm, other, where)
    for problem in report.problems:
        print(problem)
    print(f"{len(rpm)} entries of {args.rpm}, {len(other)} of {args.other}: "
          f"{len(report.used)} known kinds of difference, "
          f"{len(report.problems)} others")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
