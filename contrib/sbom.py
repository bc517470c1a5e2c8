#!/usr/bin/env python3
"""Writes what is linked into the built programs as an SPDX 2.3 document: each
library with its version, as the system's package manager (dpkg) knows it.

    contrib/sbom.py BUILD OUTPUT
"""

import datetime
import hashlib
import json
import os
import re
import subprocess
import sys

PROGRAMS = ("llm-proxyd", "llm-proxyctl")
LLHTTP_SOURCE = "/usr/share/llhttp/llhttp.c"


def output(*command):
    return subprocess.run(command, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def identifier(*words):
    """SPDX allows letters, digits, dots and hyphens."""
    return "SPDXRef-" + "-".join(re.sub(r"[^A-Za-z0-9.]", "-", word)
                                 for word in words)


def names(path):
    """A file may be listed below /lib or below /usr/lib, its other name."""
    real = os.path.realpath(path)
    return path, real, real.removeprefix("/usr")


def owners(paths):
    """{path: (package, version, architecture, source)} of installed files."""
    # It is slow, and fails for the names that are not listed.
    said = subprocess.run(
        ["dpkg-query", "-S", *(name for path in paths for name in names(path))],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=False).stdout
    packages = {name: package for package, name in
                re.findall(r"^([^\s,]+)(?:, .*)?: (/.*)$", said, re.M)}
    found = {}
    for path in paths:
        known = [packages[name] for name in names(path) if name in packages]
        if not known:
            sys.exit(f"sbom.py: {path}: no package has this library")
        found[path] = known[0]
    fields = "${binary:Package}\t${Package}\t${Version}\t${Architecture}\t" \
        "${source:Package}\n"
    about = {line.split("\t")[0]: line.split("\t")[1:] for line in
             output("dpkg-query", "-W", "-f", fields,
                    *sorted(set(found.values()))).splitlines()}
    return {path: about[package] for path, package in found.items()}


def distribution():
    with open("/etc/os-release", encoding="utf-8") as text:
        found = dict(re.findall(r'^(\w+)="?(.*?)"?$', text.read(), re.M))
    return found["ID"], found.get("VERSION_ID", "unstable")


def package_of(name, version, architecture, source):
    """The SPDX package of an installed one."""
    system, release = distribution()
    return {
        "SPDXID": identifier("Package", name),
        "name": name,
        "versionInfo": version,
        "supplier": f"Organization: {system.capitalize()}",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "sourceInfo": f"built from the source package {source}",
        "primaryPackagePurpose": "LIBRARY",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
            "referenceLocator":
                f"pkg:deb/{system}/{name}@{version.replace('+', '%2B')}"
                f"?arch={architecture}&distro={system}-{release}"}],
    }


def shared_libraries(program):
    """[(path, whether the program itself names it)]"""
    direct = re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-dW",
                                                        program))
    return [(path, name in direct) for name, path in
            re.findall(r"^\s*(\S+) => (/\S+)", output("ldd", program), re.M)]


def has_own_llhttp(program):
    return re.search(r" [Tt] llhttp_execute$", output("nm", program), re.M)


def linked(program):
    """{installed file: how it is linked}"""
    files = {path: "DYNAMIC_LINK" if direct else "DEPENDS_ON"
             for path, direct in shared_libraries(program)}
    if has_own_llhttp(program):
        files[LLHTTP_SOURCE] = "STATIC_LINK"
    return files


def describe(program, name, version):
    return {
        "SPDXID": identifier("Package", name),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue":
                       sha256(program)}],
        "licenseConcluded": "MIT",
        "licenseDeclared": "MIT",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "APPLICATION",
    }


def timestamp():
    """SOURCE_DATE_EPOCH makes the document reproducible."""
    now = datetime.datetime.now(datetime.timezone.utc).timestamp()
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", now))
    return datetime.datetime.fromtimestamp(
        seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def document(build):
    info = json.loads(output("meson", "introspect", "--projectinfo", build))
    version = info["version"]
    programs = {name: os.path.join(build, "src", name) for name in PROGRAMS}
    uses = {name: linked(path) for name, path in programs.items()}
    known = {path: package_of(*about) for path, about in owners(
        sorted(set().union(*uses.values()))).items()}
    packages = {package["SPDXID"]: package for package in known.values()}
    relations = set()
    for name, path in programs.items():
        own = describe(path, name, version)
        packages[own["SPDXID"]] = own
        relations.add(("SPDXRef-DOCUMENT", "DESCRIBES", own["SPDXID"]))
        relations |= {(own["SPDXID"], how, known[file]["SPDXID"])
                      for file, how in uses[name].items()}
    listed = [packages[name] for name in sorted(packages)]
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"llm-proxy-{version}",
        "documentNamespace":
            f"https://spdx.org/spdxdocs/llm-proxy-{version}-{digest}",
        "creationInfo": {"created": timestamp(),
                         "creators": ["Tool: llm-proxy-sbom.py"]},
        "packages": listed,
        "relationships": [
            {"spdxElementId": one, "relationshipType": how,
             "relatedSpdxElement": other}
            for one, how, other in sorted(relations)],
    }


def main(build, path):
    text = json.dumps(document(build), indent=2) + "\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"{path}: {text.count('versionInfo')} packages")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
