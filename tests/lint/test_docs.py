"""The program, its manual pages and the sample settings say the same."""

import os
import re

import pytest
from tools import BUILD, ROOT, files, need, read, run

DAEMON = os.path.join(BUILD, "src", "llm-proxyd")
CTL = os.path.join(BUILD, "src", "llm-proxyctl")
PAGES = files(["man"], tuple(f".{section}" for section in range(1, 9)))
COMPLETIONS = "contrib/completions/bash/llm-proxyctl"
SCRIPTS = (files(["contrib", "tests", "nginx"], ".sh")
           + files([".ci"], "run"))
# Read by programs of Alpine; /bin/sh there is not bash either.
ALPINE = files(["contrib/alpine", "contrib/openrc"],
               ("APKBUILD", ".pre-install", ".initd", ".confd"))


def dumped_settings():
    env = {"PATH": os.environ["PATH"], "TOKENS_JSON":
           '[{"token":"lint-key-123","label":"lint"}]'}
    status, text = run([DAEMON, "-T"], env=env)
    assert status == 0, text
    names = re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.M)
    assert len(names) > 20, text
    return set(names)


def page_settings():
    return set(re.findall(r"^\.It (?:Cm|Ic|Ev|Va) ([A-Z][A-Z0-9_]+)\b",
                          read("man/llm-proxy.conf.5"), re.M))


def sample_settings(path):
    return set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", read(path), re.M))


def test_the_settings_page_names_what_the_daemon_knows():
    assert page_settings() == dumped_settings()


@pytest.mark.parametrize("path", [".env.example", "contrib/llm-proxy.conf"])
def test_the_samples_name_what_the_daemon_knows(path):
    assert sample_settings(path) == dumped_settings()


def page_options(page):
    """Every option the page lists, short and long."""
    text = read(page)
    short = re.findall(r"^\.It Fl (\w)\b", text, re.M)
    long = re.findall(r"^\.It (?:Fl \w , )?Fl -([a-z-]+)", text, re.M)
    return {"-" + name for name in short} | {"--" + name for name in long}


@pytest.mark.parametrize("program, page", [
    (DAEMON, "man/llm-proxyd.8"), (CTL, "man/llm-proxyctl.1")])
def test_the_manual_names_the_options_of_help(program, page):
    status, text = run([program, "--help"])
    assert status == 0, text
    assert max(map(len, text.splitlines())) < 80
    assert len(text.splitlines()) <= 24 or program == DAEMON
    options = re.findall(r"(?<![\w-])(-\w|--[a-z][a-z-]+)(?![\w-])", text)
    assert set(options) == page_options(page)


def test_help_names_the_signals_of_the_manual():
    page = read("man/llm-proxyd.8").split(".Sh SIGNALS")[1].split("\n.Ss ")[0]
    items = " ".join(re.findall(r"^\.It (Dv .*)$", page, re.M))
    helped = run([DAEMON, "--help"])[1].split("Signals:")[1].split("See ")[0]
    assert set(re.findall(r"SIG([A-Z0-9]+)", items)) == set(
        re.findall(r"\b([A-Z][A-Z0-9]+)\b", helped))


def complete(*words):
    """What bash offers for the last of the words."""
    script = (f'source "{os.path.join(ROOT, COMPLETIONS)}"; compopt() {{ :; }}; '
              'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
              '_${1//-/_}; printf "%s\\n" "${COMPREPLY[@]}"')
    status, text = run([need("bash"), "-c", script, "bash", *words])
    assert status == 0, text
    return set(text.split())


def complete_fish(line):
    """What fish offers for the end of the line."""
    folder = os.path.join(ROOT, "contrib/completions/fish")
    script = "".join(f'source "{folder}/{name}.fish"; ' for name in (
        "llm-proxyd", "llm-proxyctl")) + 'complete -C "$argv"'
    status, text = run([need("fish"), "--no-config", "-c", script, line])
    assert status == 0, text
    return {offer.split("\t")[0] for offer in text.splitlines()}


def complete_zsh(program, stub):
    """What the lines of zsh's file hand to `stub`, one of zsh's helpers."""
    path = os.path.join(ROOT, "contrib/completions/zsh", "_" + program)
    status, text = run([need("zsh"), "-f", "-c", f'{stub}; source "{path}"'])
    assert status == 0, text
    return text.splitlines()


def page_commands():
    return set(re.findall(r"^\.It Ic ([a-z]+)", read("man/llm-proxyctl.1"),
                          re.M))


@pytest.mark.parametrize("program, page", [
    ("llm-proxyd", "man/llm-proxyd.8"), ("llm-proxyctl", "man/llm-proxyctl.1")])
def test_the_completions_name_the_options_of_the_manual(program, page):
    assert complete(program, "-") == page_options(page)
    assert complete(program, "--ver") == {"--version"}
    assert complete_fish(f"{program} -") == page_options(page)
    specs = complete_zsh(program, '_arguments() { print -rl -- "$@"; }')
    options = [re.match(r"(?:\([^)]*\))?(-\w|--[a-z-]+)\[", spec)
               for spec in specs]
    assert {found[1] for found in options if found} == page_options(page)


def test_the_completions_name_the_commands_of_llm_proxyctl():
    commands = page_commands()
    assert complete("llm-proxyctl", "") == commands
    assert complete_fish("llm-proxyctl ") == commands
    assert {line.split(":")[0] for line in complete_zsh(
        "llm-proxyctl", "_arguments() { state=command; }; "
        '_describe() { print -rl -- "${(P@)2}"; }')} == commands
    assert complete_fish("llm-proxyctl limiter ") == {"reset"}
    assert complete_fish("llm-proxyctl loglevel ") == {
        "error", "warning", "notice", "info", "debug"}
    assert complete("llm-proxyctl", "re") == {"reload"}
    assert complete("llm-proxyctl", "limiter", "") == {"reset"}
    assert complete("llm-proxyctl", "loglevel", "") == {
        "error", "warning", "notice", "info", "debug"}
    assert complete("llm-proxyctl", "-d", "") == set()


def test_the_manual_names_the_commands_of_llm_proxyctl():
    status, text = run([CTL, "--help"])
    assert status == 0, text
    helped = re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?: (\S*[A-Z]\S*))? ", text,
                        re.M)
    page = [(name, "[LEVEL]" if option else argument.upper())
            for name, option, argument in re.findall(
                r"^\.It Ic ([a-z]+(?: [a-z]+)?)(?: (Op)? ?Ar ([a-z]+))?$",
                read("man/llm-proxyctl.1"), re.M)]
    assert helped == page and len(page) == 9


def test_the_manual_names_the_exit_codes_of_llm_proxyctl():
    """Its own, and those that the daemon's refusals carry."""
    numbers = dict(re.findall(r"kExit(\w+) = (\d+);",
                              read("include/llm_proxy/daemon/conventions.h")))
    used = set()
    for path in files(["src/ctl"], ".cc") + ["src/daemon/control_client.cc",
                                             "src/daemon/listener.cc",
                                             "src/daemon/reload.cc"]:
        used |= set(re.findall(r"kExit(\w+)", read(path)))
    section = read("man/llm-proxyctl.1").split(".Sh EXIT STATUS")[1]
    page = re.findall(r"^\.It (\d+)$", section.split("\n.Sh ")[0], re.M)
    assert {numbers[name] for name in used} == set(page)
    assert page == sorted(page, key=int)


def translated_fields(path):
    """What the table of one of Ollama's endpoints takes over."""
    table = re.search(r"constexpr Row kRows\[\] = \{(.*?)\n\};", read(path),
                      re.S)[1]
    return set(re.findall(r'\{"(\w+)", on_\w+\}', table))


def listed_fields(endpoint):
    """{field: what becomes of it}, a set, of contrib/openai-fields.md."""
    section = read("contrib/openai-fields.md").split(f"\n## {endpoint}\n")[1]
    fields = {}
    for field, what in re.findall(r"^\| `(\w+)` \| `.*` \| (.*) \|$",
                                  section.split("\n## ")[0], re.M):
        fields.setdefault(field, set()).add(what)
    return fields


ENDPOINTS = pytest.mark.parametrize("word, endpoint, path", [
    ("chat", "/v1/chat/completions", "src/adapt/ollama_chat.cc"),
    ("text", "/v1/completions", "src/adapt/ollama_completion.cc"),
    ("embed", "/v1/embeddings", "src/adapt/embedding_request.cc")])
DROPPED = "dropped, and reported"


@ENDPOINTS
def test_the_list_of_fields_follows_the_tables(word, endpoint, path):
    del word
    fields = listed_fields(endpoint)
    unknown = {field: what for field, what in fields.items()
               if field not in translated_fields(path)}
    assert unknown
    assert all(what == {DROPPED} for what in unknown.values()), unknown


@ENDPOINTS
def test_the_readme_names_every_field(word, endpoint, path):
    named, dropped = set(), set()
    for fields, where, what in re.findall(
            r"^\| (`[^|]*) \| ([a-z, ]+) \|(.*)\|", read("README.md"), re.M):
        if word in where.split(", "):
            found = set(re.findall(r"`(\w+)`", fields))
            named |= found
            if what.strip() == "nothing; only reported as dropped":
                dropped |= found
    only_dropped = {field for field, what in listed_fields(endpoint).items()
                    if what == {DROPPED}}
    assert dropped == only_dropped
    assert named == translated_fields(path) | only_dropped


def test_the_version_is_one():
    version = re.search(r"version: '([^']+)'", read("meson.build"))[1]
    status, text = run([DAEMON, "-V"])
    assert status == 0 and f"llm-proxyd {version}" in text
    assert re.search(r"^llm-proxy (\S+)", read("CHANGES.md"),
                     re.M)[1] == version
    for path, line in {"contrib/rpm/llm-proxy.spec": r"^Version: +(\S+)",
                       "contrib/alpine/APKBUILD": r"^pkgver=(\S+)"}.items():
        assert re.search(line, read(path), re.M)[1] == version, path


# The language's and the system's own.
RUNTIME = r"(libc|libm|libstdc\+\+|libgcc_s|libpthread|ld-[a-z0-9-]+)\.so"


def test_the_version_names_the_libraries():
    """Every one that is linked, as it runs (where it tells) and was built."""
    lines = run([DAEMON, "-V"])[1].splitlines()[1:]
    found = [re.match(r"(\w+?)(?:/(\d\S*))?, built with (\d[\w.-]*)", line)
             for line in lines]
    assert None not in found, lines
    assert {of[1] for of in found if not of[2]} == {"hiredis", "llhttp"}
    status, text = run([need("readelf"), "-dW", DAEMON])
    assert status == 0, text
    needed = [name.replace("libssl", "libcrypto") for name in
              re.findall(r"\(NEEDED\).*\[(.*)\]", text)
              if not re.match(RUNTIME, name)]
    assert len(needed) >= 5, text
    for name in needed:
        assert any(of[1] in name for of in found), name


@pytest.mark.parametrize("page", PAGES)
def test_mandoc(page):
    status, text = run([need("mandoc"), "-Tlint", "-Wwarning", page])
    assert status == 0, text


def test_the_pages_are_there():
    assert PAGES == ["man/llm-proxy.conf.5", "man/llm-proxyctl.1",
                     "man/llm-proxyd.8"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck(script):
    status, text = run([need("shellcheck"), "-x", script])
    assert status == 0, text


@pytest.mark.parametrize("script", ALPINE)
def test_shellcheck_of_alpine(script):
    status, text = run([need("shellcheck"), "-s", "sh", script])
    assert status == 0, text


def test_the_scripts_of_alpine_are_there():
    assert [os.path.basename(path) for path in ALPINE] == [
        "APKBUILD", "llm-proxy.pre-install", "llm-proxyd.confd",
        "llm-proxyd.initd"]


def test_shellcheck_of_completions():
    status, text = run([need("shellcheck"), "-s", "bash", COMPLETIONS])
    assert status == 0, text


def test_no_page_points_nowhere():
    """Every file that README and HACKING name exists."""
    missing = []
    for page in ("README.md", "contrib/HACKING.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", read(page)):
            path = os.path.join(ROOT, os.path.dirname(page), target)
            if not os.path.exists(path):
                missing.append(f"{page}: {target}")
    assert missing == []
