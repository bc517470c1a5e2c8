"""The command line and the configuration: exit codes, and mistakes named with
file, line and what to do."""

import hashlib
import json
import os
import pty
import re
import socket
import subprocess
import termios

import pytest
from daemon import DAEMON, ROOT, SLOW, run_daemon

TOKENS = [{"token": "alice-key-1", "label": "alice"}]
TOKENS_LINE = "TOKENS_JSON=" + json.dumps(TOKENS)
FILE = "proxy.conf"
ANY = ""


@pytest.fixture
def check(tmp_path):
    """check(lines, ...): the exit code, stdout and stderr of -t."""
    def run(lines, *options, mode=0o600, env=None, tokens=True):
        path = tmp_path / FILE
        path.write_text("".join(f"{line}\n" for line in lines)
                        + (f"{TOKENS_LINE}\n" if tokens else ""))
        path.chmod(mode)
        return run_daemon(*(options or ["-t"]), "-c", FILE, cwd=tmp_path,
                          env=env)
    return run


def settings(out):
    return dict(line.split("=", 1) for line in out.splitlines())


# The command line ------------------------------------------------------------

@pytest.mark.parametrize("options, code, out, err", [
    (["-h"], 0, "Usage: llm-proxyd", ""),
    (["--help"], 0, "--test-config", ""),
    (["-V"], 0, "llm-proxyd ", ""),
    (["--version"], 0, "libevent/", ""),
    (["-x"], 64, "", "--help"),
    (["--nonsense"], 64, "", "--help"),
    (["-c"], 64, "", "--help"),
    (["word"], 64, "", "unexpected argument 'word'"),
    (["-c", "/nonexistent/a.conf"], 66, "",
     "/nonexistent/a.conf: cannot be read: No such file or directory"),
    (["-t", "-c", "/"], 66, "", "/: cannot be read: Is a directory"),
    (["-t", "-c", "/dev/zero"], 66, "",
     "/dev/zero: cannot be read: not a regular file"),
])
def test_options(options, code, out, err):
    got, stdout, stderr = run_daemon(*options)
    assert got == code
    assert out in stdout and bool(stdout) == bool(out)
    assert err in stderr and bool(stderr) == bool(err)


def test_half_a_document_is_an_error(tmp_path):
    config = tmp_path / FILE
    config.write_text(TOKENS_LINE + "\n")
    config.chmod(0o600)
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([DAEMON, "-T", "-c", config], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 71
    assert "standard output: No space left" in done.stderr


def hash_of(text):
    done = subprocess.run([DAEMON, "--hash-token"], input=text, text=True,
                          capture_output=True, timeout=20 * SLOW, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("end", ["\n", "", "\nmore\n"])
def test_hash_token_is_what_the_settings_take(check, end):
    code, digest, err = hash_of("alice-key-1" + end)
    assert (code, err) == (0, "")
    assert digest == hashlib.sha256(b"alice-key-1").hexdigest() + "\n"
    tokens = json.dumps([{"token_sha256": digest.strip(), "label": "a"}])
    assert check([f"TOKENS_JSON={tokens}"], tokens=False)[0] == 0


@pytest.mark.parametrize("text, why", [
    ("short\n", "at least 8 characters"),
    ("", "at least 8 characters"),
    ("with space\n", "may hold only"),
    ("umlaut-\u00e4\u00f6\n", "may hold only"),
    ("x" * 100_000, "longer than a client can show"),
])
def test_hash_token_refuses_what_is_no_token(text, why):
    code, out, err = hash_of(text)
    assert (code, out) == (78, "") and why in err


def test_hash_token_does_not_echo():
    ours, theirs = pty.openpty()
    child = subprocess.Popen([DAEMON, "--hash-token"], stdin=theirs,
                             stdout=subprocess.PIPE, stderr=theirs)
    try:
        assert os.read(ours, 64) == b"Token: "  # by now the echo is off
        os.write(ours, b"alice-key-1\n")
        digest = child.communicate(timeout=20 * SLOW)[0].decode()
        assert digest == hashlib.sha256(b"alice-key-1").hexdigest() + "\n"
        assert os.read(ours, 64) == b"\r\n"
        assert termios.tcgetattr(theirs)[3] & termios.ECHO
    finally:
        child.kill()
        child.wait()
        os.close(ours)
        os.close(theirs)


def test_healthcheck(daemon, tmp_path):
    unix = tmp_path / "s"
    one = daemon(LISTEN=f"127.0.0.1:0,unix:{unix}")
    base = f"http://127.0.0.1:{one.port}"
    for url in (base, f"{base}/healthz", f"{base}/readyz", f"unix:{unix}",
                f"unix:{unix}:/healthz"):
        assert run_daemon("--healthcheck", url, env={
            "http_proxy": "http://127.0.0.1:1"}) == (0, "", "")
    code, out, err = run_daemon("--healthcheck", base + "/nothing")
    assert (code, out) == (69, "")
    assert err == f"llm-proxyd: {base}/nothing: answers 404\n"
    one.stop()
    code, out, err = run_daemon("--healthcheck", base)
    assert (code, out) == (69, "") and "connect" in err
    code, out, err = run_daemon("--healthcheck", "127.0.0.1:8080")
    assert (code, out) == (69, "") and "must be http://" in err
    assert run_daemon("--healthcheck")[0] == 64


def test_healthcheck_does_not_wait_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        code, _, err = run_daemon("--healthcheck", f"http://127.0.0.1:{port}")
    assert code == 69 and "timed out" in err


def test_every_option_is_in_the_help():
    text = run_daemon("--help")[1]
    assert re.findall(r"-([a-zA-Z]), --", text) == list("cdfpugtTVh")


def test_a_good_file(check):
    for option in ("-t", "--test-config"):
        assert check([], option) == (0, "", "configuration is ok\n")


def test_example_environment_works(tmp_path):
    text = (ROOT / ".env.example").read_text()
    path = tmp_path / ".env"
    path.write_text(text)
    path.chmod(0o600)
    assert run_daemon("-t", "-c", path) == (0, "", "configuration is ok\n")
    shown = settings(run_daemon("-T", "-c", path)[1])
    # Each setting is in it once, a comment with the default as its value.
    named = re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.M)
    assert sorted(name for name, _ in named) == sorted(shown)
    for name, value in named:
        if name not in ("WORKERS", "TOKENS_JSON"):
            assert shown[name] == value


# The effective settings -------------------------------------------------------

def test_dump_shows_what_counts_and_masks_secrets(check):
    lines = ["# a comment", "", "PORT=9000", "VLLM_API_KEY=vllm-secret-key",
             "OLLAMA_BASE_URL=http://ollama.example:1/", "HEAD_TIMEOUT="]
    for option in ("-T", "--dump-config"):
        code, out, err = check(lines, option,
                               env={"PORT": "9001", "QUEUE_SIZE": "7",
                                    "DRAIN_DELAY": "", "UNRELATED": "1"})
        assert (code, err) == (0, "")
        shown = settings(out)
        assert shown["PORT"] == "9001"
        assert shown["QUEUE_SIZE"] == "7"
        assert shown["HEAD_TIMEOUT"] == "10s"
        assert shown["DRAIN_DELAY"] == "0"
        assert shown["OLLAMA_BASE_URL"] == "http://ollama.example:1/"
        assert shown["VLLM_API_KEY"] == "***"
        assert shown["OLLAMA_API_KEY"] == ""
        assert shown["TOKENS_JSON"] == "*** (1 token)"
        assert 1 <= int(shown["WORKERS"]) <= 4
        for secret in ("alice-key-1", "vllm-secret-key",
                       hashlib.sha256(b"alice-key-1").hexdigest()):
            assert secret not in out


def test_what_is_dumped_is_a_good_file_again(check):
    lines = ["PORT=1", "LISTEN=127.0.0.1:1,[::1]:2,unix:/tmp/a",
             "DRAIN_TIMEOUT=2h", "MAX_BODY_BYTES=1g",
             "MAX_BUFFERED_BYTES=2g"]
    out = check(lines, "-T")[1]
    again = [line for line in out.splitlines()
             if not line.startswith("TOKENS_JSON")]
    assert check(again, "-T") == (0, out, "")


def test_the_environment_alone_is_enough():
    env = {"TOKENS_JSON": json.dumps(TOKENS), "PORT": "81"}
    code, out, _ = run_daemon("-T", env=env)
    assert (code, settings(out)["PORT"]) == (0, "81")


@pytest.mark.parametrize("lines", [["\ufeffPORT=81"], ["PORT=81\r"],
                                   ["  # x", "\t", "PORT=81"]])
def test_files_of_other_editors(check, lines):
    assert settings(check(lines, "-T")[1])["PORT"] == "81"


# Mistakes ---------------------------------------------------------------------

@pytest.mark.parametrize("line, message", [
    ("PORTT=1", 'unknown setting "PORTT"; did you mean PORT?'),
    ("max_body_bytes=1", "did you mean MAX_BODY_BYTES?"),
    ("ZZZZZZZZZZ=1", 'unknown setting "ZZZZZZZZZZ"'),
    ("export PORT=1", '"export"'),
    ("PORT = 1", "no blanks may stand before or after the name"),
    ("PORT", "expected NAME=value"),
    ("PORT=65536", 'must be a number from 0 to 65535, not "65536"'),
    ("PORT=", None),
    ('PORT="1"', "(quotes are part of a value)"),
    ("WORKERS=0", "must be a number from 1 to 64"),
    ("MAX_CONNECTIONS=-1", "must be a number from 1 to"),
    ("HEAD_TIMEOUT=0", "must be a duration from 1ms to 24h"),
    ("HEAD_TIMEOUT=5 s", "500ms, 30s, 5m, 1h"),
    ("HEAD_TIMEOUT=1.5s", "must be a duration"),
    ("BODY_TIMEOUT=25h", "must be a duration"),
    ("SSE_KEEPALIVE=0", None),
    ("KEEPALIVE_TIMEOUT=99999999999999999999h", "must be a duration"),
    ("MAX_BODY_BYTES=20mb", "64k, 20m, 1g"),
    ("MAX_BODY_BYTES=0", "must be a size from 1 to 1g"),
    ("MAX_BUFFERED_BYTES=1k", "must be at least MAX_BODY_BYTES"),
    ("DEFAULT_BACKEND=openai", "must be ollama or vllm"),
    ("LOG_LEVEL=loud", "must be error, warning, notice, info or debug"),
    ("LOG_FORMAT=xml", "must be text or json"),
    ("RATE_LIMIT_STORE=redis", "redis needs REDIS_URL"),
    ("REDIS_URL=http://127.0.0.1", "must begin with redis://"),
    ("ENDPOINTS=rerank,scores", 'unknown endpoint "scores"; did you mean '
     '"score"?'),
    ("VLLM_BASE_URL=http://a,http://b", "a list of URLs"),
    ("VLLM_BASE_URL=ftp://a", "http"),
    ("VLLM_BASE_URL=localhost:8000", "http"),
    ("VLLM_BASE_URL=http://", ANY),
    ("VLLM_BASE_URL=http://a:99999", ANY),
    ("VLLM_BASE_URL=http://user:geheim@a", ANY),
    ("VLLM_BASE_URL=http://a?x=1", ANY),
    ("VLLM_BASE_URL=http://a b", ANY),
    ("VLLM_API_KEY=two words", "printable ASCII without blanks"),
    ("VLLM_CA_FILE=/nonexistent/ca", "cannot read"),
    (f"VLLM_CA_FILE={FILE}", "no certificate in PEM format"),
    ("LISTEN=8080", "needs a port"),
    ("LISTEN=:8080", "must be host:port"),
    ("LISTEN=[::g]:1", "no IPv6 address"),
    ("LISTEN=127.0.0.1:1,127.0.0.1:1", "there twice"),
    ("LISTEN=unix:relative", "absolute path"),
    ("LISTEN=unix:/" + "x" * 120, "at most 107"),
    ("HOST=a b", "must be a host name or an address"),
    ("TRUSTED_PROXIES=10.0.0.1/8", "bits set after its prefix"),
    ("TRUSTED_PROXIES=10.0.0.0/33", "prefix length from 0 to 32"),
    ("TRUSTED_PROXIES=proxy", "no address or range"),
    ("LOG_FILE=a\x07b", "control character"),
])
def test_a_mistake_is_named_with_its_line(check, line, message):
    code, out, err = check(["# first", "DRAIN_DELAY=0", line])
    if message is None:
        assert (code, err) == (0, "configuration is ok\n")
        return
    assert (code, out) == (78, "")
    (problem,) = err.splitlines()
    assert problem.startswith(f"{FILE}:3: ")
    assert re.fullmatch(r"[\x20-\x7e]+", problem)
    assert "geheim" not in problem and "two words" not in problem
    assert message in problem


@pytest.mark.parametrize("name, value, message", [
    ("PORT", "many", 'must be a number from 0 to 65535, not "many"'),
    ("VLLM_BASE_URL", "http://a,http://b", "a list of URLs"),
    ("TOKENS_JSON", "[", "not valid JSON"),
    ("TOKENS_FILE", "/nonexistent/t", "cannot read"),
])
def test_a_mistake_in_the_environment_is_named(name, value, message):
    env = {"TOKENS_JSON": json.dumps(TOKENS), name: value}
    if name == "TOKENS_FILE":
        del env["TOKENS_JSON"]
    code, _, err = run_daemon("-t", env=env)
    assert code == 78
    assert err.startswith(f"environment: {name}: ") and message in err
    assert len(err.splitlines()) == 1


def test_the_environment_mends_the_file(check):
    assert check(["PORT=many"], env={"PORT": "1"})[0] == 0


def test_all_mistakes_are_named_at_once(check):
    code, _, err = check(["PORT=x", "PROT=1", "PORT=2", "junk",
                          "HEAD_TIMEOUT=x"], env={"QUEUE_SIZE": "x"},
                         tokens=False)
    assert code == 78
    starts = [line.rsplit(": ", 1)[0] for line in err.splitlines()]
    for start in (f"{FILE}:1", f"{FILE}:2", f"{FILE}:3", f"{FILE}:4",
                  f"{FILE}:5", "environment: QUEUE_SIZE", f"{FILE}: no tokens"):
        assert sum(s.startswith(start) for s in starts) == 1, err
    assert "is set twice, first on line 1" in err


# Tokens -----------------------------------------------------------------------

GOOD = {"token": "bob-key-12", "label": "bob"}
DIGEST = hashlib.sha256(b"alice-key-1").hexdigest()


@pytest.mark.parametrize("token, message", [
    ({**GOOD, "token": "alice-key-1"}, 'the same token as "alice"'),
    ({"token_sha256": DIGEST, "label": "bob"}, 'the same token as "alice"'),
    ({**GOOD, "label": "alice"}, "same label"),
    ({**GOOD, "label": ""}, "label must be 1 to 64 characters"),
    ({**GOOD, "label": "a b"}, "label must be"),
    ({**GOOD, "label": "x" * 65}, "label must be"),
    ({**GOOD, "label": 5}, "label must be a string, not"),
    ({"token": "bob-key-12"}, "a label is missing"),
    ({**GOOD, "token": "short12"}, "at least 8 characters"),
    ({**GOOD, "token": "with blank"}, "token may hold only"),
    ({**GOOD, "token": 12345678}, "token must be a string"),
    ({**GOOD, "token_sha256": DIGEST}, "exactly one of"),
    ({"label": "bob"}, "exactly one of"),
    ({"token_sha256": "abc", "label": "bob"}, "64 hex digits"),
    ({**GOOD, "rpm": 0}, "rpm must be at least 1"),
    ({**GOOD, "rpd": -1}, "rpd must be at least 1"),
    ({**GOOD, "rpm": 1.5}, "rpm must be a whole number"),
    ({**GOOD, "rpm": "60"}, "rpm must be a whole number, not a string"),
    ({**GOOD, "concurrency": 0}, "concurrency must be at least 1"),
    ({**GOOD, "modles": []}, 'unknown member "modles"; did you mean '
     '"models"?'),
    ({**GOOD, "models": "vllm:*"}, "models must be an array"),
    ({**GOOD, "models": []}, "at least one pattern"),
    ({**GOOD, "models": [""]}, "only patterns"),
    ({**GOOD, "disabled": 1}, "disabled must be true or false"),
    ({**GOOD, "expires": "tomorrow"}, "expires must be a date"),
    ({**GOOD, "expires": "2027-02-30"}, "expires must be a date"),
    ("bob", "must be an object, not a string"),
])
@pytest.mark.parametrize("kind", ["TOKENS_FILE", "TOKENS_JSON"])
def test_token_mistakes_are_named(check, tmp_path, kind, token, message):
    tokens = [TOKENS[0], token]
    if kind == "TOKENS_FILE":
        path = tmp_path / "tokens.json"
        path.write_text("[\n" + ",\n".join(map(json.dumps, tokens)) + "\n]")
        path.chmod(0o600)
        code, _, err = check(["TOKENS_FILE=tokens.json"], tokens=False)
        start = "tokens.json:3: token 2"
    else:
        code, _, err = check(["TOKENS_JSON=" + json.dumps(tokens)],
                             tokens=False)
        start = f"{FILE}:1: TOKENS_JSON: token 2"
    assert code == 78
    (problem,) = err.splitlines()
    assert problem.startswith(start) and message in problem
    for secret in ("alice-key-1", "bob-key-12", "short12", "with blank",
                   DIGEST):
        assert secret not in problem


@pytest.mark.parametrize("text, line, message", [
    ("", 1, "not valid JSON"), ("[\n\n{]", 3, "not valid JSON"),
    ("{}", 1, "must be an array"), ("[]", 1, "holds no token"),
    ('[{"token":"alice-key-1","label":"a"},\n{"token":"x","label":"b"},\n\n'
     '{"token":"y","label":"c"}]', 2, "at least 8"),
])
def test_token_files_as_a_whole(check, tmp_path, text, line, message):
    (tmp_path / "tokens").write_text(text)
    code, _, err = check(["TOKENS_FILE=tokens"], tokens=False)
    assert code == 78
    assert err.startswith(f"tokens:{line}: ") and message in err
    if "token 3" in err:
        assert "tokens:4: token 3" in err


def test_both_or_no_tokens(check):
    code, _, err = check(["TOKENS_FILE=x"])
    assert code == 78 and "TOKENS_JSON is set as well" in err
    code, _, err = check([], tokens=False)
    assert code == 78 and "no tokens: set TOKENS_FILE" in err


# Warnings, and what stops the start -------------------------------------------

@pytest.mark.parametrize("mode, warned", [(0o644, True), (0o640, False)])
def test_files_that_everyone_may_read(check, tmp_path, mode, warned):
    code, _, err = check([], mode=mode)
    assert (code, "everyone may read the secrets" in err) == (0, warned)
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(TOKENS))
    path.chmod(mode)
    code, _, err = check(["TOKENS_FILE=tokens.json"], mode=0o644, tokens=False)
    assert (code, "may read these tokens" in err) == (0, warned)
    assert "may read the secrets" not in err


@pytest.mark.parametrize("name", ["TOKENS_FILE", "VLLM_CA_FILE"])
def test_a_pipe_is_no_file(check, tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    code, _, err = check([f"{name}=pipe"], tokens=name != "TOKENS_FILE")
    assert code == 78
    assert f'{FILE}:1: {name}: cannot read "pipe": not a regular file' in err


def test_an_open_door_gets_a_warning(check):
    lines = ["LISTEN=0.0.0.0:1,127.0.0.1:2"]
    err = check(lines)[2]
    assert err.count("warning: ") == 1 and "0.0.0.0:1 without TRUSTED" in err
    assert "warning" not in check([*lines, "TRUSTED_PROXIES=10.0.0.1"])[2]


@pytest.mark.parametrize("lines, code, message", [
    (["PORT={port}"], 71, "cannot listen on 127.0.0.1:{port}"),
    (["LISTEN=127.0.0.1:0,127.0.0.1:{port}"], 71, "in use"),
    (["LISTEN=unix:/nonexistent/a"], 71, "No such file"),
    (["LISTEN=127.0.0.1:0", "ACCESS_LOG=/nonexistent/a"], 73, "ACCESS_LOG: "),
    (["LISTEN=127.0.0.1:0", "LOG_FILE=/nonexistent/a"], 73, "LOG_FILE: "),
])
def test_what_stops_the_start(tmp_path, lines, code, message):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = tmp_path / FILE
        path.write_text("\n".join([*(line.format(port=port)
                                     for line in lines), TOKENS_LINE]))
        path.chmod(0o600)
        got, out, err = run_daemon("-c", path)
    assert (got, out) == (code, "")
    assert message.format(port=port) in err
