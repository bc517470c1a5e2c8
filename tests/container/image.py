"""Makes what the Dockerfile makes where no registry can be reached: each of
its stages in a root of its own below build/container, from debootstrap's
instead of the image that FROM names. Takes root and a network.

As a program it is the inside of one RUN, in namespaces of its own, so that
nothing stays mounted:

    image.py ROOT CACHE FOLDER COMMAND
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "harness"))

import sandbox  # noqa: E402  (found only through the line above)
from dockerfile import read_dockerfile  # noqa: E402

OUT = ROOT / "build" / "container"
STAND_INS = {"debian:12-slim": "bookworm"}
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
# What is kept from one build to the next; no part of any image.
CACHES = {"apt": "var/cache/apt/archives", "ccache": "root/.cache/ccache"}


def checked(command, **options):
    """Runs it; what it printed is in the error."""
    done = subprocess.run(command, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}\n{done.stdout[-4000:]}")


def base_root(image):
    suite = STAND_INS[image]
    base = OUT / f"base-{suite}"
    if not base.exists():
        new = OUT / f"base-{suite}.new"
        shutil.rmtree(new, ignore_errors=True)
        # It mounts, too, and when it is killed leaves that behind.
        checked(["unshare", "--mount", "debootstrap", "--variant=minbase",
                 suite, new, MIRROR])
        shutil.rmtree(new / CACHES["apt"])
        for folder in CACHES.values():
            (new / folder).mkdir(parents=True)
        new.rename(base)
    return base


def is_ignored(path):
    """Whether .dockerignore keeps it out of what is sent to docker."""
    path = path.relative_to(ROOT)
    for line in (ROOT / ".dockerignore").read_text().split():
        name = line.removeprefix("**/")
        assert not set("*?[!") & set(name), f".dockerignore: {line}"
        if line != name and name in path.parts:
            return True
        if pathlib.Path(line) in [path, *path.parents]:
            return True
    return False


def left_out(folder, names):
    """For copytree."""
    return [name for name in names if is_ignored(pathlib.Path(folder, name))]


def sources(rest, roots):
    """The (files or folders that a COPY takes, where to)."""
    words = rest.split()
    base = ROOT
    if words[0].startswith("--from="):
        base = roots[words.pop(0)[len("--from="):]]
    taken = [base / word.lstrip("/") for word in words[:-1]]
    if base == ROOT:
        assert not any(map(is_ignored, taken)), f"COPY {rest}: is ignored"
    return taken, words[-1]


def copy(rest, root, workdir, roots):
    taken, to = sources(rest, roots)
    target = root / (workdir + "/" + to if to[0] != "/" else to).lstrip("/")
    for source in taken:
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True,
                            ignore=None if "--from=" in rest else left_out)
        else:
            assert to.endswith("/"), f"COPY {rest}: name a folder"
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def run(command, root, env, workdir):
    # Docker puts its own there while a step runs.
    for name in ("resolv.conf", "hosts"):
        (root / "etc" / name).touch()
    checked(["unshare", "--mount", "--pid", "--fork", "--kill-child",
             sys.executable, __file__, root, OUT / "cache", workdir, command],
            env={"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8",
                 **{name: os.environ[name] for name in PROXIES
                    if name in os.environ}, **env})


def inside(root, cache, workdir, command):
    sandbox.mount(None, "/", flags=sandbox.MS_REC | sandbox.MS_PRIVATE)
    for name, folder in CACHES.items():
        os.makedirs(f"{cache}/{name}", exist_ok=True)
        sandbox.mount(f"{cache}/{name}", f"{root}/{folder}",
                      flags=sandbox.MS_BIND)
    for name in ("resolv.conf", "hosts"):
        sandbox.mount(f"/etc/{name}", f"{root}/etc/{name}",
                      flags=sandbox.MS_BIND)
    os.chroot(root)
    os.chdir(workdir)
    sandbox.private_devices()
    sandbox.mount("proc", "/proc", "proc")
    sys.exit(subprocess.run(["/bin/sh", "-c", command],
                            check=False).returncode)


def key_of(stage, before):
    """Stands for all that goes into a stage."""
    digest = hashlib.sha256(repr((stage, before)).encode())
    for word, rest, _, _ in stage.steps:
        if word != "COPY" or "--from=" in rest:
            continue
        for source in sources(rest, {})[0]:
            for path in sorted([source, *source.rglob("*")]):
                if path.is_file() and not is_ignored(path):
                    digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


def build():
    """(the last stage, its root); what is there from the same files stays."""
    OUT.mkdir(parents=True, exist_ok=True)
    roots, key = {}, ""
    for stage in read_dockerfile((ROOT / "Dockerfile").read_text()):
        root = roots[stage.name] = OUT / stage.name
        mark = OUT / f"{stage.name}.key"
        key = key_of(stage, key)
        if mark.exists() and mark.read_text() == key:
            continue
        mark.unlink(missing_ok=True)
        shutil.rmtree(root, ignore_errors=True)
        checked(["cp", "-a", base_root(stage.base), root])
        for word, rest, env, workdir in stage.steps:
            (root / workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
            if word == "RUN":
                run(rest, root, env, workdir)
            else:
                copy(rest, root, workdir, roots)
        mark.write_text(key)
    return stage, root


if __name__ == "__main__":
    inside(*sys.argv[1:])
