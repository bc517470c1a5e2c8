"""The files of nginx/: each is valid where it says that it belongs, and what
the other tests run is what is shipped."""

import difflib
import re
import subprocess

import pytest
from daemon import ROOT, run_daemon
from nginx import SHAPES, SHIPPED, make_certificate, need
from raw import chat

pytestmark = pytest.mark.nginx

SITE = """
pid {folder}/pid;
error_log {folder}/error.log;
events {{ }}
http {{
    {paths}
    include llm-proxy/http.conf;
    server {{
        listen unix:{folder}/s;
        root {folder};
        {server}
        location / {{ try_files $uri =404; }}
    }}
}}
"""


def check_config(folder, text):
    """nginx -t of it as a site's own nginx.conf beside our folder."""
    (folder / "llm-proxy").symlink_to(SHIPPED / "llm-proxy")
    path = folder / "nginx.conf"
    path.write_text(text)
    done = subprocess.run([need("nginx"), "-t", "-c", path, "-e",
                           folder / "error.log"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Later versions have a directive for it, which those before 1.25.1 lack.
    said = [line for line in done.stderr.splitlines()
            if '"listen ... http2" directive is deprecated' not in line]
    assert not re.search(r"\[(warn|error|crit|alert|emerg)\]", "\n".join(said))


def own_paths(folder):
    return "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                     ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


@pytest.mark.parametrize("shape", SHAPES)
def test_one_shape_in_an_existing_site(tmp_path, shape):
    check_config(tmp_path, SITE.format(
        folder=tmp_path, paths=own_paths(tmp_path),
        server=f"include llm-proxy/{shape}.conf;"))


def test_the_whole_file(tmp_path):
    certificate, key = make_certificate(tmp_path)
    text = (SHIPPED / "nginx.conf").read_text()
    for old, new in (("user www-data;\n", ""),
                     ("/run/nginx.pid", f"{tmp_path}/pid"),
                     ("/var/log/nginx", str(tmp_path)),
                     ("/etc/ssl/certs/llm-proxy.pem", str(certificate)),
                     ("/etc/ssl/private/llm-proxy.key", str(key)),
                     ("http {\n", "http {\n" + own_paths(tmp_path))):
        assert old in text
        text = text.replace(old, new)
    check_config(tmp_path, text)


def test_every_file_is_used():
    text = "".join(path.read_text() for path in SHIPPED.rglob("*.conf"))
    for path in (SHIPPED / "llm-proxy").iterdir():
        assert f"include llm-proxy/{path.name};" in text


def test_the_tests_run_what_is_shipped(site):
    """Nothing differs but what nginx.conf says that a site changes."""
    at = site()
    changed = {}
    for path in SHIPPED.rglob("*.conf"):
        name = str(path.relative_to(SHIPPED))
        ours = (at.nginx.folder / "nginx" / name).read_text()
        changed[name] = [
            line[2:].split()[0] for line in difflib.ndiff(
                path.read_text().splitlines(), ours.splitlines())
            if line[:2] in ("+ ", "- ")]
    assert set(changed.pop("nginx.conf")) == {
        "user", "pid", "error_log", "access_log", "listen",
        "ssl_certificate", "ssl_certificate_key", "client_body_temp_path",
        "proxy_temp_path", "fastcgi_temp_path", "uwsgi_temp_path",
        "scgi_temp_path"}
    assert set(changed.pop("llm-proxy/http.conf")) == {"server"}
    assert not any(changed.values())


@pytest.mark.parametrize("setting, shipped", [
    ("MAX_BODY_BYTES", "client_max_body_size 20m;"),
    ("FIRST_BYTE_TIMEOUT", "proxy_read_timeout 620s;"),
    ("KEEPALIVE_TIMEOUT", "keepalive_timeout 60s;"),
    ("HEAD_TIMEOUT", "client_header_timeout 10s;"),
    ("BODY_TIMEOUT", "client_body_timeout 30s;"),
    ("WRITE_TIMEOUT", "send_timeout 60s;"),
])
def test_the_numbers_fit_the_daemons_defaults(setting, shipped):
    text = "".join(path.read_text() for path in SHIPPED.rglob("*.conf"))
    assert shipped in text
    sample = (ROOT / ".env.example").read_text()
    default = int(re.search(rf"^#{setting}=(\d+)", sample, re.M)[1])
    number = int(re.search(r"(\d+)[ms];", shipped)[1])
    if setting == "FIRST_BYTE_TIMEOUT":
        assert number > default
    elif setting == "KEEPALIVE_TIMEOUT":
        assert number < default
    else:
        assert number == default


def printed(tmp_path, **settings):
    config = tmp_path / "llm-proxy.conf"
    config.write_text("".join(f"{name}={value}\n" for name, value in {
        "TOKENS_JSON": '[{"token":"demo-key-123","label":"demo"}]',
        **settings}.items()))
    config.chmod(0o600)
    return run_daemon("-c", config, "--print-nginx")


@pytest.mark.parametrize("settings, lines", [
    ({}, ["server \"127.0.0.1:8080\";", "client_max_body_size 20971520;",
          "proxy_read_timeout 620s;", "keepalive_timeout 60s;",
          "send_timeout 60s;", "client_body_timeout 30s;"]),
    ({"LISTEN": "0.0.0.0:81,unix:/run/a b/\"s"},
     ["server \"unix:/run/a b/\\\"s\";"]),
    ({"LISTEN": "0.0.0.0:81"}, ["server \"127.0.0.1:81\";"]),
    ({"LISTEN": "[::]:81"}, ["server \"[::1]:81\";"]),
    ({"LISTEN": "[::1]:81"}, ["server \"[::1]:81\";"]),
    ({"MAX_BODY_BYTES": "1m", "FIRST_BYTE_TIMEOUT": "1500ms",
      "STREAM_IDLE_TIMEOUT": "90s", "KEEPALIVE_TIMEOUT": "1s",
      "WRITE_TIMEOUT": "1ms"},
     ["client_max_body_size 1048576;", "larger than 1048576 bytes",
      "proxy_read_timeout 110s;", "keepalive_timeout 1s;",
      "send_timeout 1s;"]),
])
def test_print_nginx(tmp_path, settings, lines):
    status, text, said = printed(tmp_path, **settings)
    assert (status, said) == (0, "")
    for line in lines:
        assert line in text
    assert "@PROXY" not in text and "demo-key" not in text
    check_config(tmp_path, SITE.format(
        folder=tmp_path, paths=own_paths(tmp_path), server="").replace(
            "    include llm-proxy/http.conf;\n", text).replace(
            "listen 80;", f"listen unix:{tmp_path}/p;"))


def test_print_nginx_without_an_address(tmp_path):
    status, text, said = printed(tmp_path, LISTEN="127.0.0.1:0")
    assert (status, text) == (78, "")
    assert said.startswith("LISTEN: ")
    assert printed(tmp_path, LISTEN="nonsense")[0] == 78


def put_in_place(at):
    """What is printed, in place of a shape that is shipped."""
    at.nginx.stop_process()
    status, text, _ = run_daemon("-c", at.daemon.config, "--print-nginx")
    assert status == 0
    text = text.replace("upstream llm_proxyd", "upstream printed")
    text = text.replace("http://llm_proxyd", "http://printed")
    text = text.replace("listen 80;", f"listen unix:{at.nginx.unix['front']};")
    config = at.nginx.config.read_text()
    listen = f"        listen unix:{at.nginx.unix['front']};\n"
    assert listen in config
    at.nginx.config.write_text(config.replace(listen, "").replace(
        "    # Shape 3.\n", text))
    at.nginx.start()


def test_what_is_printed_works(site):
    at = site(lambda _request, peer: peer.whole({"ok": 1}))
    put_in_place(at)
    with at.client("front", unix=True) as client:
        assert client.ask(body=chat("vllm:m")).json == {"ok": 1}
        assert client.ask(body=chat("m"), token="nobody").status == 401
        assert client.ask("/internal/authz").status == 404
        at.daemon.stop()
        answer = client.ask(body=chat("m"))
        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        assert answer.header("Retry-After") == "1"


def test_no_error_of_what_is_printed_is_html(site):
    at = site(MAX_BODY_BYTES="1k")
    put_in_place(at)
    line = b"GET /v1/models HTTP/1.1\r\nHost: p\r\n"
    post = b"POST /v1/embeddings HTTP/1.1\r\nHost: p\r\n"
    for raw, status, code in (
            (b"GET /v1/models HTTP/1.1\r\n\r\n", 400, "malformed_http"),
            (line + b"Content-Length: x\r\n\r\n", 400, "malformed_http"),
            (b"GET / HTTP/1.1\r\nHost: p\r\n\r\n", 404, "unknown_url"),
            (b"GET /v1 HTTP/1.1\r\nHost: p\r\n\r\n", 404, "unknown_url"),
            (b"TRACE /v1/models HTTP/1.1\r\nHost: p\r\n\r\n", 405,
             "method_not_supported"),
            (post + b"Content-Length: 2000\r\n\r\n", 413,
             "request_too_large"),
            (post + b"Content-Length: 9999999\r\n\r\n", 413,
             "request_too_large"),
            (post + b"Transfer-Encoding: chunked\r\n\r\n800\r\nx", 413,
             "request_too_large"),
            (b"GET /v1/models?" + b"x" * 20_000 + b" HTTP/1.1\r\n", 414,
             "uri_too_long"),
            (line + b"X: " + b"x" * 20_000 + b"\r\n\r\n", 431,
             "headers_too_large"),
            (line + b"Transfer-Encoding: gzip\r\n\r\n", 501,
             "not_implemented"),
            (b"GET /v1/models HTTP/3.0\r\nHost: p\r\n\r\n", 505,
             "unsupported_http_version")):
        with at.client("front", unix=True) as client:
            client.send(raw)
            answer = client.answer()
        assert (answer.status, answer.error["code"]) == (status, code), raw
        assert answer.header("Content-Type") == "application/json"
        assert answer.header("Retry-After") is None


def test_what_is_printed_blanks_what_is_shipped(tmp_path):
    shipped = (SHIPPED / "llm-proxy/headers.conf").read_text()
    _, text, _ = printed(tmp_path)
    names = re.findall(r"^proxy_set_header \S+ \S+;$", shipped, re.M)
    assert len(names) > 20
    for line in names:
        assert " " * 8 + line + "\n" in text
