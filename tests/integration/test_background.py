"""The process as init sees it: background, pid file, user, descriptors."""

import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import stat
import tempfile

import pytest
from daemon import DAEMON, TOKEN, eventually, gone, run_daemon
from raw import Client, ask

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def world():
    """A folder that every user may look into, and write to."""
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def program(world):
    """The daemon where every user may run it: the checkout may be one's own
    alone."""
    return shutil.copy(DAEMON, world)


@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("takes root")


@pytest.fixture
def background(world):
    """start(option, ..., SETTING=value): the code and the words of a start
    with -d and -p; whatever still runs is killed after the test."""
    pid_file = world / "pid"

    def start(*options, preexec=None, program=DAEMON, **settings):
        config = world / "c.conf"
        lines = {"LISTEN": f"unix:{world}/http", "TOKENS_JSON":
                 f'[{{"token":"{TOKEN}","label":"a"}}]',
                 "LOG_FILE": world / "error.log", **settings}
        config.write_text("".join(f"{name}={value}\n"
                                  for name, value in lines.items()))
        config.chmod(0o644)
        code, out, err = run_daemon("-d", "-p", pid_file, "-c", config,
                                    *options, preexec=preexec,
                                    program=program)
        assert out == ""
        return code, err

    start.folder = world
    start.pid_file = pid_file
    yield start
    if pid_file.exists() and pid_file.read_text().strip():
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


def serves(background):
    with Client(None, unix=str(background.folder / "http")) as client:
        return client.ask("/healthz").status == 200


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines()
                if ":\t" in line)


def test_whoever_ignores_its_children_learns_that_it_failed(background):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _ = background(LISTEN=f"127.0.0.1:{taken.getsockname()[1]}",
                             preexec=lambda: signal.signal(signal.SIGCHLD,
                                                           signal.SIG_IGN))
    assert code == 71


def test_an_owner_with_a_full_backlog_is_there(background):
    path = background.folder / "full"
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(str(path))
        owner.listen(0)
        waiting = []
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(str(path))
        code, err = background(LISTEN=f"unix:{path}")
        for each in waiting:
            each.close()
    assert code == 71 and "Address already in use" in err


# Background -------------------------------------------------------------------

def test_the_starter_ends_when_it_serves(background):
    code, err = background()
    assert code == 0 and " ready, " not in err
    assert serves(background)
    pid = int(background.pid_file.read_text())
    assert os.getsid(pid) == pid != os.getsid(0)
    for fd in 0, 1, 2:
        assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: gone(pid))
    assert not background.pid_file.exists()
    assert not (background.folder / "http").exists()


def test_it_warns_when_nobody_would_hear_it(background):
    code, err = background(LOG_FILE="")
    assert code == 0 and "-d without LOG_FILE" in err


@pytest.mark.parametrize("settings, code, words", [
    ({"WORKERS": "many"}, 78, "WORKERS: "),
    ({"LISTEN": "unix:/nonexistent/http"}, 71, "unix:/nonexistent/http: "),
    ({"LOG_FILE": "/nonexistent/log"}, 73, "LOG_FILE: "),
    ({"ACCESS_LOG": "/nonexistent/log"}, 73, "ACCESS_LOG: "),
    ({"STATE_FILE": "/proc"}, 73, "STATE_FILE: "),
])
def test_the_starter_says_why_not(background, settings, code, words):
    if "LISTEN" not in settings:
        settings = {"LOG_FILE": "", **settings}
    got, err = background(**settings)
    assert got == code, err
    assert words in err
    assert not background.pid_file.exists()


def test_a_port_in_use(background):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, err = background(LISTEN=f"127.0.0.1:{port}")
    assert code == 71 and f"127.0.0.1:{port}: bind: Address already" in err
    assert not background.pid_file.exists()


def test_foreground_wins_when_it_comes_later(daemon, tmp_path):
    for option in "-f", "--foreground", "--debug":
        running = daemon(arguments=["-d", option, "-p", tmp_path / "pid"])
        assert int((tmp_path / "pid").read_text()) == running.pid
        running.reload()
        with Client(running.port) as client:
            client.send(b"nonsense\r\n\r\n")
            client.answer()
        refused = "refused: rule" in running.log  # said at info
        assert refused == (option == "--debug")
        running.stop()


# The pid file -----------------------------------------------------------------

def test_a_second_instance_says_so(background, daemon, tmp_path):
    assert background()[0] == 0
    pid = int(background.pid_file.read_text())
    code, err = background()
    assert code == 75
    assert (f"error: -p: {background.pid_file}: another llm-proxyd is "
            f"running, process {pid}\n") in err
    assert int(background.pid_file.read_text()) == pid
    assert serves(background)


def test_a_stale_file_is_taken_over(background):
    assert background()[0] == 0
    first = int(background.pid_file.read_text())
    os.kill(first, signal.SIGKILL)
    eventually(lambda: gone(first))
    assert background.pid_file.exists() and (background.folder /
                                             "http").exists()
    assert background()[0] == 0
    assert int(background.pid_file.read_text()) != first
    assert serves(background)


@pytest.mark.parametrize("make", [
    lambda path: path.mkdir(), lambda path: path.symlink_to("elsewhere"),
    os.mkfifo])
def test_only_a_file_is_a_pid_file(background, make):
    make(background.pid_file)
    code, err = background()
    assert code == 73 and f"-p: {background.pid_file}: " in err
    assert not (background.folder / "elsewhere").exists()
    if background.pid_file.is_dir():
        background.pid_file.rmdir()
    else:
        background.pid_file.unlink()


def test_another_file_in_its_place_is_left_alone(background):
    assert background()[0] == 0
    pid = int(background.pid_file.read_text())
    background.pid_file.unlink()
    background.pid_file.write_text("another's")
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: gone(pid))
    assert background.pid_file.read_text() == "another's"
    background.pid_file.unlink()


# The user ---------------------------------------------------------------------

@pytest.mark.bare
@pytest.mark.usefixtures("root")
def test_privileges_are_gone_for_good(background):
    folder = background.folder
    code, err = background("-u", "nobody", LISTEN=f"unix:{folder}/http",
                           STATE_FILE=folder / "state",
                           ACCESS_LOG=folder / "access.log")
    assert code == 0, err
    pid = int(background.pid_file.read_text())
    status = status_of(pid)
    uid, gid = str(NOBODY.pw_uid), str(NOBODY.pw_gid)
    assert status["Uid"].split() == [uid] * 4
    assert status["Gid"].split() == [gid] * 4
    assert set(status["Groups"].split()) <= {gid}
    assert status["NoNewPrivs"] == "1"
    for which in "CapPrm", "CapEff", "CapInh", "CapAmb":
        assert int(status[which], 16) == 0
    for name in "http", "error.log", "access.log":
        assert (folder / name).stat().st_uid == NOBODY.pw_uid, name
    assert stat.S_IMODE((folder / "http").stat().st_mode) == 0o660
    # What it opens later it may open.
    (folder / "error.log").rename(folder / "error.log.1")
    os.kill(pid, signal.SIGUSR1)
    eventually((folder / "error.log").exists)
    os.kill(pid, signal.SIGHUP)
    eventually(lambda: "reloaded" in (folder / "error.log").read_text())
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: gone(pid))
    assert (folder / "state").stat().st_uid == NOBODY.pw_uid
    assert not background.pid_file.exists()


@pytest.mark.bare
@pytest.mark.usefixtures("root")
def test_tokens_it_may_no_longer_read(background):
    tokens = background.folder / "tokens.json"
    tokens.write_text(f'[{{"token":"{TOKEN}","label":"a"}}]')
    code, err = background("-u", "nobody", TOKENS_JSON="", TOKENS_FILE=tokens)
    assert code == 0, err
    tokens.chmod(0)
    os.kill(int(background.pid_file.read_text()), signal.SIGHUP)
    log = background.folder / "error.log"
    eventually(lambda: "reload failed" in log.read_text())
    assert ": Permission denied" in log.read_text()
    with Client(0, unix=f"{background.folder}/http") as client:
        assert client.ask("/v1/responses").status == 404  # not 401


@pytest.mark.bare
@pytest.mark.usefixtures("root")
def test_an_upgrade_needs_no_privileges(background, program):
    folder = background.folder
    port = 81
    code, err = background("-u", "nobody", program=program, LISTEN=(
        f"127.0.0.1:{port},unix:{folder}/http"))
    assert code == 0, err
    first = int(background.pid_file.read_text())
    os.kill(first, signal.SIGUSR2)
    log = folder / "error.log"
    eventually(lambda: log.read_text().count("ready, ") == 2)
    second = int(background.pid_file.read_text())
    assert second != first
    assert status_of(second)["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert int(status_of(second)["CapEff"], 16) == 0
    assert ask(port, "/healthz").status == 200 and serves(background)


@pytest.mark.bare
@pytest.mark.usefixtures("root")
def test_a_group_of_its_own(background):
    assert background("--user", "65533", "--group", "7")[0] == 0
    pid = int(background.pid_file.read_text())
    status = status_of(pid)
    assert status["Uid"].split() == ["65533"] * 4
    assert status["Gid"].split() == ["7"] * 4
    assert status["Groups"].split() == ["7"]


@pytest.mark.bare
@pytest.mark.usefixtures("root")
def test_what_its_user_may_not_open_is_named(background):
    folder = background.folder
    (folder / "error.log").touch(0o600)
    code, err = background("-u", "nobody")
    assert code == 73
    assert f"LOG_FILE: {folder}/error.log: Permission" in err
    (folder / "error.log").unlink()
    tokens = folder / "tokens.json"
    tokens.write_text(f'[{{"token":"{TOKEN}","label":"a"}}]')
    tokens.chmod(0o600)
    code, err = background("-u", "nobody", TOKENS_JSON="", TOKENS_FILE=tokens)
    assert code == 0
    assert "cannot read" in err and "tokens.json" in err
    assert "this user cannot reload: see above" in err
    assert serves(background)


@pytest.mark.bare
@pytest.mark.usefixtures("root")
def test_a_pid_file_that_cannot_be_removed_is_emptied(background):
    background.folder.chmod(0o755)
    (background.folder / "logs").mkdir(0o777)
    (background.folder / "logs").chmod(0o777)
    log = background.folder / "logs/error.log"
    assert background("-u", "nobody", LOG_FILE=log)[0] == 0
    pid = int(background.pid_file.read_text())
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: gone(pid))
    assert background.pid_file.read_text() == ""
    assert background("-u", "nobody", LOG_FILE=log)[0] == 0


@pytest.mark.parametrize("options, words", [
    (["-u", "no-such-user"], "-u no-such-user: there is no such user"),
    (["-g", "no-such-group"], "-g no-such-group: there is no such group"),
    (["-u", "root"], "-u root: root would keep its privileges"),
    (["-u", "0"], "-u 0: root would keep its privileges"),
])
def test_users_that_cannot_be(background, options, words):
    code, err = background(*options)
    assert code == 64 and words in err


@pytest.mark.bare
def test_only_root_becomes_another(background, program):
    def as_nobody():
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(*[NOBODY.pw_gid] * 3)
            os.setresuid(*[NOBODY.pw_uid] * 3)

    folder = background.folder
    code, _, err = run_daemon(
        "-u", "daemon", preexec=as_nobody, cwd=folder, program=program,
        env={"LISTEN": f"unix:{folder}/http",
             "TOKENS_JSON": f'[{{"token":"{TOKEN}","label":"a"}}]'})
    assert code == 77 and "-u and -g take root" in err


# Descriptors ------------------------------------------------------------------

@pytest.mark.parametrize("closed", [(0,), (0, 1), (0, 1, 2), (1, 2)])
def test_closed_descriptors_are_no_sockets(daemon, tmp_path, closed):
    def close():
        for fd in closed:
            os.close(fd)

    running = daemon(preexec=close, LOG_FILE=tmp_path / "daemon0/stderr")
    for fd in closed:
        assert os.readlink(f"/proc/{running.pid}/fd/{fd}") == "/dev/null"
    assert ask(running.port, "/healthz").status == 200


def test_the_help_fits_a_screen():
    lines = run_daemon("--help")[1].splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert all(re.fullmatch(r"[\x20-\x7e]*", line) for line in lines)
