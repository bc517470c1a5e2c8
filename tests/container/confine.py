"""Becomes a program in an image's root, held as by

    docker run --read-only --tmpfs /run --cap-drop=ALL
        --security-opt no-new-privileges

It is process 1, with a network of its own, in which ADDRESS stands for what
docker's -p forwards to. To be started by start().

    confine.py ROOT UID:GID FOLDER SECRETS PROGRAM [ARGUMENT ...]

SECRETS are JSON, {path below /run: text}, files that only the user may read.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1] / "harness"))

import sandbox  # noqa: E402  (found only through the line above)

ADDRESS = "192.0.2.2"
PR_SET_PDEATHSIG = 1


def start(root, stage, command, env, secrets=None):
    """The unshare that waits for it and passes its exit status on."""
    return subprocess.Popen(
        ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork",
         "--kill-child", sys.executable, __file__, root, stage.user,
         stage.workdir, json.dumps(secrets or {}), *command],
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)


def network():
    """Before the root changes: these are not the image's programs."""
    for words in (["addr", "add", ADDRESS + "/32", "dev", "lo"],
                  ["link", "set", "lo", "up"]):
        subprocess.run(["ip", *words], check=True, env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def enter(root):
    sandbox.mount(None, "/", flags=sandbox.MS_REC | sandbox.MS_PRIVATE)
    sandbox.mount(root, root, flags=sandbox.MS_BIND)
    sandbox.set_read_only(root, True)
    os.chroot(root)
    os.chdir("/")
    sandbox.private_devices()
    sandbox.mount("proc", "/proc", "proc",
                  sandbox.MS_NOSUID | sandbox.MS_NODEV | sandbox.MS_NOEXEC)
    sandbox.mount("tmpfs", "/run", "tmpfs",
                  sandbox.MS_NOSUID | sandbox.MS_NODEV | sandbox.MS_NOEXEC)


def write_secrets(secrets, uid, gid):
    for name, text in secrets.items():
        path = pathlib.Path("/run") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.chown(path, uid, gid)
        path.chmod(0o400)


def become(uid, gid):
    """Capabilities go with the change from root to another user."""
    sandbox.drop_bounding_set()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    sandbox.no_new_privileges()
    # What unshare has set for --kill-child went with the user.
    sandbox.check(sandbox.LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
                  "pdeathsig")


def main(root, user, folder, secrets, program, *arguments):
    uid, gid = map(int, user.split(":"))
    network()
    enter(root)
    write_secrets(json.loads(secrets), uid, gid)
    os.umask(0o022)
    become(uid, gid)
    os.chdir(folder)
    os.execvp(program, [program, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
