"""contrib/compose without docker: its settings, its nginx.conf and its Redis
command work together, with paths of the test's own."""

import contextlib
import getpass
import re
import subprocess

import pytest
import yaml
from daemon import (DAEMON, ROOT, TOKEN, clean_environment, eventually,
                    run_daemon)
from nginx import SHIPPED, make_certificate, need, replaced
from store import find_server

pytestmark = pytest.mark.nginx

FOLDER = ROOT / "contrib/compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = ("llm-proxyd", "nginx", "redis")


def test_the_files_that_it_names_are_there():
    assert (FOLDER / SERVICES["llm-proxyd"]["build"] / "Dockerfile").exists()
    found = 0
    for service in SERVICES.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                found += 1
                assert (FOLDER / source).exists(), volume
                assert volume.endswith(":ro")
            else:
                assert source in COMPOSE["volumes"]
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
        assert set(service.get("depends_on", [])) <= set(SERVICES)
    assert found == 2


def test_secrets_are_files_that_stay_out_of_git_and_images():
    for secret in COMPOSE["secrets"].values():
        assert re.fullmatch(r"\./secrets/[\w.]+", secret["file"])
    assert "/contrib/compose/secrets/" in (
        ROOT / ".gitignore").read_text().split()
    assert "contrib/compose/secrets" in (
        ROOT / ".dockerignore").read_text().split()


@pytest.mark.parametrize("name", OURS)
def test_services_have_no_rights(name):
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in service or name == "nginx"


def test_images_have_a_version():
    for name, service in SERVICES.items():
        if name != "llm-proxyd":
            assert re.fullmatch(r"[\w/]+:\d[\w.-]+", service["image"])


@contextlib.contextmanager
def started(*words, **options):
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def settings(folder):
    """Of the daemon's service, with what stands in for the volumes."""
    text = yaml.safe_dump(SERVICES["llm-proxyd"]["environment"])
    for place in ("/run/secrets", "/run/redis", "/run/llm-proxy"):
        text = replaced(text, place, str(folder))
    return yaml.safe_load(replaced(text, "ollama:11434", "127.0.0.1:9"))


def nginx_conf(folder):
    make_certificate(folder)
    (folder / "llm-proxy").mkdir()
    for path in (SHIPPED / "llm-proxy").iterdir():
        text = path.read_text()
        if path.name == "http.conf":
            text = replaced(text, "/run/llm-proxy", str(folder))
        (folder / "llm-proxy" / path.name).write_text(text)
    text = (FOLDER / "nginx.conf").read_text()
    for old, new in (("/tmp/", f"{folder}/n-"),  # first: it is there itself
                     ("/run/secrets/", f"{folder}/"),
                     ("/dev/stdout", f"{folder}/access.log"),
                     ("listen 8443 ssl", f"listen unix:{folder}/tls ssl")):
        text = replaced(text, old, new)
    (folder / "nginx.conf").write_text(text)
    return folder / "nginx.conf"


def ask(folder, *options):
    done = subprocess.run(
        ["curl", "-sk", "--unix-socket", folder / "tls", "-o",
         folder / "body", "-w", "%{http_code}", *options], text=True,
        stdout=subprocess.PIPE, check=False)
    return done.stdout


def test_they_work_together(tmp_path):
    env = settings(tmp_path)
    (tmp_path / "tokens.json").write_text(
        f'[{{"token":"{TOKEN}","label":"compose","rpm":2}}]')
    (tmp_path / "tokens.json").chmod(0o600)
    code, out, err = run_daemon("-T", env=env)
    assert code == 0, err
    assert set(env) <= set(re.findall(r"^([A-Z_]+)=", out, re.M))
    command = SERVICES["redis"]["command"]
    assert command[0] == "redis-server"
    words = [word.replace("/run/redis", str(tmp_path)) for word in command[1:]]
    with contextlib.ExitStack() as stack:
        stack.enter_context(started(need(find_server()), *words, cwd=tmp_path,
                                    stdout=subprocess.DEVNULL))
        eventually((tmp_path / "redis.sock").exists)
        code, _, err = run_daemon("-t", "--connect", env=env)
        assert code == 0, err
        stack.enter_context(started(DAEMON, env=clean_environment(**env),
                                    stderr=subprocess.DEVNULL))
        kind, program, *check = SERVICES["llm-proxyd"]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "llm-proxyd")
        check = [word.replace("/run/llm-proxy", str(tmp_path))
                 for word in check]
        eventually(lambda: run_daemon(*check)[0] == 0)
        stack.enter_context(started(
            need("nginx"), "-c", nginx_conf(tmp_path), "-g",
            f"daemon off; user {getpass.getuser()};", "-e",
            tmp_path / "error.log", env=clean_environment(),
            stderr=subprocess.DEVNULL))
        eventually((tmp_path / "n-nginx.pid").exists)
        assert ask(tmp_path, "https://localhost/healthz") == "200"
        assert ask(tmp_path, "https://localhost/v1/models") == "401"
        assert ask(tmp_path, "https://localhost/nowhere") == "404"
