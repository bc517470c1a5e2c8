"""The Dockerfile's image, made by its own steps (image.py) and started as
strictly as docker can start it (confine.py)."""

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import time

import confine
import image
import pytest
from dockerfile import read_env_file

TOKENS = '[{"token":"file-key-456","label":"file","rpm":60}]'
CHAT = '{"model":"ollama:demo","messages":[{"role":"user","content":"hi"}]}'
SECONDS = 20


def need_tools():
    """Skips without them; check.py turns that into a failure under CI."""
    for tool in ("debootstrap", "unshare", "nsenter", "ip", "curl"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            pytest.skip(f"{tool} is not installed")
    if os.geteuid() != 0:
        pytest.skip("makes a root and mounts, for which it must be root")


@pytest.fixture(scope="session", name="built")
def made_image():
    """(the last stage of the Dockerfile, the root that it makes)"""
    need_tools()
    return image.build()


class Container:
    """`docker run` of the image; `env` is that of --env-file and -e."""

    def __init__(self, built, env, secrets=None):
        self.stage, self.root = built
        self.env = {"PATH": image.PATH, **self.stage.env, **env}
        self.process = confine.start(self.root, self.stage,
                                     self.stage.entrypoint, self.env, secrets)
        end = time.monotonic() + SECONDS
        while self.process.poll() is None and self.healthcheck() != 0:
            assert time.monotonic() < end, "it does not become healthy"
            time.sleep(0.02)
        if self.process.poll() is not None:
            raise AssertionError(self.process.communicate()[1])

    @property
    def pid(self):
        """Of the container's process 1, as it is called outside."""
        own = self.process.pid
        return int(pathlib.Path(
            f"/proc/{own}/task/{own}/children").read_text())

    def enter(self, *words, **options):
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", *words], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, check=False, **options)

    def healthcheck(self):
        """As docker asks: in the container, as its user."""
        uid, gid = self.stage.user.split(":")
        with contextlib.suppress(ValueError):  # it is not there, or ended
            return self.enter("--all", "--root", "--wd", f"--setgid={gid}",
                              f"--setuid={uid}", *self.stage.healthcheck,
                              env=self.env).returncode
        return None

    def ask(self, path, *options):
        """(status, body) at what -p forwards to."""
        port = self.stage.exposed[0]
        done = self.enter("--net", "curl", "-sS", "-m", str(SECONDS), "-w",
                          "\n%{http_code}", *options,
                          f"http://{confine.ADDRESS}:{port}{path}")
        assert done.returncode == 0, done.stderr
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def stop(self):
        """`docker stop`: (exit status, standard output, standard error)."""
        os.kill(self.pid, signal.Signals[self.stage.stop_signal])
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err

    def kill(self):
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def running(built, env, secrets=None):
    container = Container(built, env, secrets)
    try:
        yield container
    finally:
        container.kill()


def sample():
    return read_env_file((image.ROOT / ".env.example").read_text())


def authorized(key):
    return ("-H", f"Authorization: Bearer {key}", "-H",
            "Content-Type: application/json", "-d", CHAT)


def test_the_two_commands_of_the_readme(built):
    """`docker run -p 8080:8080 --env-file .env` with .env.example as it is."""
    readme = (image.ROOT / "README.md").read_text()
    assert "cp .env.example .env\n" in readme
    assert "docker build -t llm-proxy .\n" in readme
    words = shlex.split(re.search(r"^docker run (.*) llm-proxy$", readme,
                                  re.M)[1])
    assert words == ["-p", "8080:8080", "--env-file", ".env"]
    stage = built[0]
    assert stage.exposed == ["8080"]
    with running(built, sample()) as container:
        assert container.ask("/healthz")[0] == 200
        status, body = container.ask("/v1/models")
        assert status == 401 and '"missing_api_key"' in body
        key = re.search(r'"token":"([^"]+)"', sample()["TOKENS_JSON"])[1]
        status, body = container.ask("/v1/chat/completions", *authorized(key))
        assert status == 502 and '"backend_unreachable"' in body
        assert container.stop()[0] == 0


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", text, re.M))


def test_it_has_no_rights(built):
    with running(built, sample()) as container:
        found = status_of(container.pid)
        assert found["Uid"].split() == found["Gid"].split() == ["65532"] * 4
        assert found["Groups"] == "" and found["NoNewPrivs"] == "1"
        assert {int(found["Cap" + kind], 16) for kind in
                ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
        assert found["NSpid"].split()[-1] == "1"


def snapshot(root):
    """Every file of it, by what a write would change."""
    found = {}
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            about = os.lstat(path)
            found[path] = (about.st_mode, about.st_size, about.st_ino,
                           about.st_mtime_ns)
    return found


def test_nothing_is_written_and_the_log_is_standard_error(built):
    before = snapshot(built[1])
    with running(built, {**sample(), "ACCESS_LOG": "-"}) as container:
        mounts = pathlib.Path(f"/proc/{container.pid}/mountinfo").read_text()
        options = re.findall(r"^\S+ \S+ \S+ \S+ / (\S+) ", mounts, re.M)
        assert options and options[-1].split(",")[0] == "ro"
        container.ask("/v1/models")
        code, out, err = container.stop()
    assert (code, out) == (0, "")
    assert "listening on" in err and "status=401" in err
    assert snapshot(built[1]) == before


def test_secrets_come_by_file(built):
    env = {"TOKENS_FILE": "/run/secrets/tokens"}
    with running(built, env, {"secrets/tokens": TOKENS}) as container:
        status, _ = container.ask("/v1/chat/completions",
                                  *authorized("file-key-456"))
        assert status == 502
        environ = pathlib.Path(f"/proc/{container.pid}/environ").read_bytes()
        assert b"file-key-456" not in environ
        assert container.stop()[0] == 0


def test_the_healthcheck_without_a_daemon(built):
    stage, root = built
    alone = confine.start(root, stage, stage.healthcheck,
                          {"PATH": image.PATH, **stage.env})
    assert alone.communicate(timeout=SECONDS)[1].startswith("llm-proxyd: ")
    assert alone.returncode == 69


def test_without_tokens_it_says_so_and_ends(built):
    stage, root = built
    ended = confine.start(root, stage, stage.entrypoint,
                          {"PATH": image.PATH, **stage.env})
    assert "no tokens" in ended.communicate(timeout=SECONDS)[1]
    assert ended.returncode == 78


def needed_libraries(root, program):
    """{library: its path in the root, or None}"""
    done = subprocess.run(["chroot", root, "ldd", program], text=True,
                          stdout=subprocess.PIPE, check=True)
    return {name: None if path == "not" else path for name, path in
            re.findall(r"^\s*(\S+) => (\S+)", done.stdout, re.M)}


@pytest.mark.parametrize("program", ["/usr/sbin/llm-proxyd",
                                     "/usr/bin/llm-proxyctl"])
def test_every_library_is_there_and_asked_for(built, program):
    """What the programs themselves need is named in the Dockerfile, not there
    because something else happens to need it."""
    stage, root = built
    found = needed_libraries(root, program)
    assert found and None not in found.values(), found
    dynamic = subprocess.run(["readelf", "-d", f"{root}{program}"], text=True,
                             stdout=subprocess.PIPE, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    asked = " ".join(rest for word, rest, _, _ in stage.steps if word == "RUN")
    for name in needed:
        if name not in found:
            continue  # the loader
        path = os.path.realpath(found[name])
        owner = subprocess.run(
            ["chroot", root, "dpkg-query", "-S", f"*/{os.path.basename(path)}"],
            text=True, stdout=subprocess.PIPE, check=True).stdout
        package = owner.split(":")[0]
        assert package in asked.split() or package in ("libc6", "libgcc-s1"), \
            f"{program} needs {name} of {package}"


def test_what_is_in_the_image(built):
    stage, root = built
    version = re.search(r"version: '(.*?)'",
                        (image.ROOT / "meson.build").read_text())[1]
    assert stage.labels["org.opencontainers.image.version"] == version
    assert set(stage.env) == {"HOST"}, "settings are the user's"
    assert not (root / "src").exists() and not (root / "image").exists()
    assert not list(root.glob("**/.env"))
    assert not (root / "usr/bin/g++").exists()
    assert (root / "usr/share/man/man8/llm-proxyd.8").exists()
