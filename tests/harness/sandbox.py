"""Runs a program as contrib/systemd/llm-proxyd.service has it run, as far as
that can be without a service manager, and as tests can have it: their files
are root's and lie where they like. Takes root; the program keeps the process.

    sandbox.py FILTER WRITABLE:... PROGRAM [ARGUMENT ...]

FILTER is what seccomp_filter.py makes of the unit. Of the file systems only
WRITABLE may be written to.
"""

import ctypes
import errno
import os
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x20000, 0x8000000, 0x10000000
CLONE_NEWUTS = 0x4000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 2, 4, 8, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = -100, 0x8000, 1
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
KEYCTL_JOIN_SESSION_KEYRING = 1
CAPABILITY_VERSION_3 = 0x20080522
SYS_MOUNT_SETATTR = 442
SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}  # glibc has no function for it
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8),
           "urandom": (1, 9), "tty": (5, 0)}
# Not one that holds what the tests need, as a checkout in /root does.
HOMES = ("/home", "/root", "/run/user")
MODULES = "/usr/lib/modules"

# What each directive of the unit comes to here; seccomp_filter.py has those
# of calls, of which ProtectHostname and ProtectKernelModules have a part here,
# too. A test holds the unit against both, and looks at a process.
APPLIED = {
    "CapabilityBoundingSet": "drop_privileges",
    "KeyringMode": "drop_privileges",
    "NoNewPrivileges": "drop_privileges",
    "PrivateDevices": "private_devices",
    "PrivateIPC": "namespaces",
    "PrivateUsers": "only_root",
    "ProcSubset": "own_proc",
    "ProtectControlGroups": "read_only",
    "ProtectHome": "no_homes",
    "ProtectKernelTunables": "read_only",
    "ProtectProc": "own_proc",
    "ProtectSystem": "read_only",
    "UMask": "main",
}
LEFT_OUT = {
    "DevicePolicy": "a control group's; PrivateDevices leaves no others",
    "Group": "as User", "LimitCORE": "tests set limits of their own",
    "LimitNOFILE": "tests set limits of their own",
    "PrivateTmp": "tests have their files there",
    "RemoveIPC": "goes by the user", "User": "tests' files are root's",
    **dict.fromkeys(("ConfigurationDirectory", "ConfigurationDirectoryMode",
                     "LogsDirectory", "RuntimeDirectory", "StateDirectory",
                     "StateDirectoryMode"), "tests have folders of their own"),
    **dict.fromkeys(("ExecReload", "ExecStart", "KillMode",
                     "NotifyAccess", "Restart", "RestartPreventExitStatus",
                     "TimeoutStopSec", "Type", "WatchdogSec"),
                    "the service manager's"),
}


def check(result, what):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0, data=None):
    encoded = [text and os.fsencode(text) for text in (source, target, kind)]
    check(LIBC.mount(*encoded, ctypes.c_ulong(flags),
                     data and data.encode()), f"mount {target}")


def set_read_only(path, wanted):
    bit = MOUNT_ATTR_RDONLY
    attr = struct.pack("QQQQ", bit if wanted else 0, 0 if wanted else bit,
                       0, 0)
    check(LIBC.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path),
                       AT_RECURSIVE, attr, len(attr)), path)


def namespaces():
    check(LIBC.unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS), "unshare")
    mount(None, "/", flags=MS_REC | MS_PRIVATE)


def private_devices():
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755")
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"/dev/{name}", 0o20666, os.makedev(major, minor))
        os.chmod(f"/dev/{name}", 0o666)


def own_proc():
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
          "hidepid=invisible,subset=pid")


def no_homes(needed):
    for home in HOMES:
        if os.path.isdir(home) and not any(
                path.startswith(home + "/") for path in needed):
            mount("tmpfs", home, "tmpfs", 0, "mode=000")
    if os.path.isdir(MODULES):
        mount("tmpfs", MODULES, "tmpfs", 0, "mode=000")


def read_only(writable):
    for path in writable:
        mount(path, path, flags=MS_BIND | MS_REC)
    set_read_only("/", True)
    for path in [*writable, "/proc"]:  # of which only processes are left
        set_read_only(path, False)


def only_root():
    check(LIBC.unshare(CLONE_NEWUSER), "unshare")
    for name, text in (("setgroups", b"deny"), ("uid_map", b"0 0 1"),
                       ("gid_map", b"0 0 1")):
        with open(f"/proc/self/{name}", "wb") as file:
            file.write(text)


def drop_bounding_set():
    capability = 0
    while LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    if ctypes.get_errno() != errno.EINVAL:  # which is past the last one
        check(-1, "the bounding set")


def no_new_privileges():
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def drop_privileges():
    check(LIBC.syscall(SYS_KEYCTL[os.uname().machine],
                       KEYCTL_JOIN_SESSION_KEYRING, None), "keyctl")
    drop_bounding_set()
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    check(LIBC.capset(header, bytes(24)), "capset")
    no_new_privileges()


def filter_calls(program):
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    check(LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                     ctypes.byref(Program(len(program) // 8, program)), 0, 0),
          "seccomp")


def main(filter_path, writable, program, *arguments):
    with open(filter_path, "rb") as file:
        calls = file.read()
    writable = writable.split(":")
    namespaces()
    private_devices()
    own_proc()
    no_homes([program, os.path.realpath(program), *writable])
    read_only(writable)
    only_root()
    os.umask(0o077)
    drop_privileges()
    filter_calls(calls)
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
