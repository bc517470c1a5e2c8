"""make install puts everything where the places say, and make dist packs it."""

import json
import os
import shlex
import stat
import subprocess
import tarfile

import pytest
from tools import BUILD, ROOT, files, need, read, run

NGINX = files(["nginx"], ".conf")
# Below the prefix, but for the settings.
EXPECTED = {
    "bin/llm-proxyctl": 0o755,
    "sbin/llm-proxyd": 0o755,
    "lib/systemd/system/llm-proxyd.service": 0o644,
    "lib/systemd/system/llm-proxyd.socket": 0o644,
    "lib/sysusers.d/llm-proxyd.conf": 0o644,
    "lib/tmpfiles.d/llm-proxyd.conf": 0o644,
    "share/bash-completion/completions/llm-proxyctl": 0o644,
    "share/bash-completion/completions/llm-proxyd": "llm-proxyctl",
    "share/doc/llm-proxy/caddy/Caddyfile": 0o644,
    "share/doc/llm-proxy/haproxy/haproxy.cfg": 0o644,
    "share/fish/vendor_completions.d/llm-proxyctl.fish": 0o644,
    "share/fish/vendor_completions.d/llm-proxyd.fish": 0o644,
    "share/man/man1/llm-proxyctl.1": 0o644,
    "share/man/man5/llm-proxy.conf.5": 0o644,
    "share/man/man8/llm-proxyd.8": 0o644,
    "share/zsh/site-functions/_llm-proxyctl": 0o644,
    "share/zsh/site-functions/_llm-proxyd": 0o644,
    **{f"share/doc/llm-proxy/{path}": 0o644 for path in NGINX},
}


def option(name):
    for line in run([need("meson"), "configure", BUILD])[1].splitlines():
        words = line.split()
        if words[:1] == [name]:
            return words[1]
    raise AssertionError(name)


def install(build, dest):
    status, text = run([need("meson"), "install", "-C", build,
                        "--no-rebuild"], env={**os.environ, "DESTDIR": dest})
    assert status == 0, text


def below(top):
    """{path: its mode, or where a link points}"""
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            found[os.path.relpath(path, top)] = (
                os.readlink(path) if stat.S_ISLNK(mode)
                else stat.S_IMODE(mode))
    return found


def test_all_of_it_is_installed_and_settings_are_kept(tmp_path):
    prefix, sysconfdir = option("prefix"), option("sysconfdir")
    settings = os.path.join(prefix, sysconfdir, "llm-proxy/llm-proxy.conf")
    dest = str(tmp_path)
    install(BUILD, dest)
    assert below(dest) == {
        os.path.relpath(settings, "/"): 0o640,
        **{os.path.relpath(os.path.join(prefix, path), "/"): mode
           for path, mode in EXPECTED.items()}}
    service = tmp_path / prefix[1:] / "lib/systemd/system/llm-proxyd.service"
    assert f"ExecStart={prefix}/sbin/llm-proxyd\n" in service.read_text()
    # The site's own, whatever it says.
    path = tmp_path / settings[1:]
    path.write_text("PORT=1\n")
    install(BUILD, dest)
    assert path.read_text() == "PORT=1\n"


def test_other_places_are_named_in_all_that_names_places(tmp_path):
    build = str(tmp_path)
    status, text = run([need("meson"), "setup", "--prefix=/opt/p",
                        "--sbindir=bin", "--sysconfdir=/opt/e", build])
    assert status == 0, text
    targets = ["llm-proxyctl.1", "llm-proxy.conf.5", "llm-proxyd.8",
               "llm-proxyd.service", "llm-proxyd.socket", "llm-proxyd.conf",
               "llm-proxy.conf"]
    status, text = run([need("ninja"), "-C", build, *targets])
    assert status == 0, text
    said = {name: (tmp_path / name).read_text() for name in targets}
    for name, text in said.items():
        assert "/usr/local" not in text, name
        assert "/etc/llm-proxy" not in text, name
    assert "\nExecStart=/opt/p/bin/llm-proxyd\n" in said["llm-proxyd.service"]
    assert ".Pa /opt/e/llm-proxy/llm-proxy.conf\n" in said["llm-proxyd.8"]
    assert "d /opt/e/llm-proxy 0750 " in said["llm-proxyd.conf"]
    assert said["llm-proxy.conf"].startswith("# /opt/e/llm-proxy/")
    with open(os.path.join(build, "compile_commands.json"),
              encoding="utf-8") as text:
        commands = [entry["command"] for entry in json.load(text)
                    if "default_config" in entry["file"]]
    assert '-DLLMPROXY_SYSCONFDIR="/opt/e"' in shlex.split(commands[0])


def test_the_release_is_reproducible_and_whole():
    if not os.path.exists(os.path.join(ROOT, ".git")):
        pytest.skip("not a checkout of git")
    version = read("meson.build").split("version: '")[1].split("'")[0]
    top = f"llm-proxy-{version}"
    path = f"build/dist/{top}.tar.gz"
    made = []
    for _ in range(2):
        status, text = run(["make", "--no-print-directory", "dist"])
        assert status == 0, text
        with open(os.path.join(ROOT, path), "rb") as archive:
            made.append(archive.read())
    assert made[0] == made[1]
    with tarfile.open(os.path.join(ROOT, path)) as archive:
        names = set(archive.getnames())
    listed = subprocess.run(["git", "ls-tree", "-r", "--name-only", "HEAD"],
                            cwd=ROOT, text=True, check=True,
                            capture_output=True).stdout.split()
    left_out = {".gitattributes", ".gitignore", ".ci/run"}
    assert {f"{top}/{name}" for name in listed if name not in left_out} \
        == {name for name in names
            if not any(other.startswith(name + "/") for other in names)}
    assert {f"{top}/CHANGES.md", f"{top}/LICENSE"} <= names
