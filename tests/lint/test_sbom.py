"""`make sbom`: valid SPDX, and all that is linked is in it."""

import json
import os
import re

import pytest
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import (
    validate_full_spdx_document)
from tools import BUILD, need, run

SOURCE_DATE_EPOCH = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}


@pytest.fixture(name="sbom", scope="module")
def written_sbom(tmp_path_factory):
    need("dpkg-query")
    path = tmp_path_factory.mktemp("sbom") / "sbom.spdx.json"
    status, text = run(["contrib/sbom.py", BUILD, str(path)],
                       env=SOURCE_DATE_EPOCH)
    assert status == 0, text
    return path


def linked(sbom, program, how):
    return {relation["relatedSpdxElement"]
            for relation in sbom["relationships"]
            if relation["spdxElementId"] == "SPDXRef-Package-" + program
            and relation["relationshipType"] == how}


def test_it_is_valid(sbom):
    problems = validate_full_spdx_document(parse_file(str(sbom)))
    assert problems == []


def test_what_is_linked_is_in_it(sbom):
    found = json.loads(sbom.read_text())
    versions = {package["name"]: package["versionInfo"]
                for package in found["packages"]}
    daemon = os.path.join(BUILD, "src", "llm-proxyd")
    paths = re.findall(r" => (/\S+)", run(["ldd", daemon])[1])
    names = [name for path in map(os.path.realpath, paths)
             for name in (path, path.removeprefix("/usr"))]
    owners = set(re.findall(r"^([^:\s]+):.*: /",
                            run(["dpkg-query", "-S", *names])[1], re.M))
    assert len(owners) > 5
    for line in run(["dpkg-query", "-W", *owners])[1].splitlines():
        name, version = line.split("\t")
        assert versions[name.split(":")[0]] == version
    direct = linked(found, "llm-proxyd", "DYNAMIC_LINK")
    assert {re.sub(r"[\d.-]+(t64)?$", "", name) for name in direct} >= {
        "SPDXRef-Package-lib" + name for name in
        ("curl", "event-core", "jansson", "hiredis", "ssl")}
    static = linked(found, "llm-proxyd", "STATIC_LINK")
    shared = {name for name in direct if "llhttp" in name}
    assert len(static | shared) == 1 and "llhttp" in (static | shared).pop()
    assert linked(found, "llm-proxyctl", "STATIC_LINK") == set()


def test_it_is_the_same_again(sbom, tmp_path):
    again = tmp_path / "again.json"
    run(["contrib/sbom.py", BUILD, str(again)], env=SOURCE_DATE_EPOCH)
    assert again.read_text() == sbom.read_text()
