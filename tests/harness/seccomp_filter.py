"""The seccomp filter that systemd makes of a unit, as a program for prctl(2).

    seccomp_filter.py UNIT FILE
"""

import configparser
import errno
import re
import socket
import subprocess
import sys

ALL_BITS = 0xffffffffffffffff
O_CREAT = 0o100
SUID_SGID = 0o6000
PROT_WRITE, PROT_EXEC = 2, 4
SHM_EXEC = 0o100000
# CLONE_NEW*: cgroup, uts, ipc, user, pid, net, ns, time.
NAMESPACES = 0x7e020000 | 0x80
SCHED_OTHER, SCHED_BATCH, SCHED_IDLE = 0, 3, 5
SAME_PERSONALITY = 0xffffffff


# A condition: (which argument, which of its bits, what they are).
def no_bits(place, mask):
    return [(place, mask, 0)]


def one_of(place, values):
    return [(place, ALL_BITS, value) for value in values]


# What a directive, set to yes, leaves of some calls: any of several conditions
# on the arguments. Without any the call is gone.
RESTRICTIONS = {
    "LockPersonality": {"personality": one_of(0, [0, SAME_PERSONALITY])},
    "MemoryDenyWriteExecute": {
        "mmap": [(2, PROT_WRITE | PROT_EXEC, kept)
                 for kept in (0, PROT_WRITE, PROT_EXEC)],
        "mprotect": no_bits(2, PROT_EXEC),
        "pkey_mprotect": no_bits(2, PROT_EXEC),
        "shmat": no_bits(2, SHM_EXEC)},
    "ProtectClock": {"@clock": []},
    "ProtectHostname": {"sethostname": [], "setdomainname": []},
    "ProtectKernelLogs": {"syslog": []},
    "ProtectKernelModules": {"@module": []},
    "RestrictNamespaces": {"clone": no_bits(0, NAMESPACES), "clone3": [],
                           "unshare": [], "setns": []},
    "RestrictRealtime": {"sched_setscheduler": one_of(
        1, [SCHED_OTHER, SCHED_BATCH, SCHED_IDLE])},
    "RestrictSUIDSGID": {
        "chmod": no_bits(1, SUID_SGID), "fchmod": no_bits(1, SUID_SGID),
        "fchmodat": no_bits(2, SUID_SGID), "mkdir": no_bits(1, SUID_SGID),
        "mkdirat": no_bits(2, SUID_SGID), "mknod": no_bits(1, SUID_SGID),
        "mknodat": no_bits(2, SUID_SGID), "creat": no_bits(1, SUID_SGID),
        "open": no_bits(1, O_CREAT) + no_bits(2, SUID_SGID),
        "openat": no_bits(2, O_CREAT) + no_bits(3, SUID_SGID),
        "openat2": []},
}
# Their callers know an older call, and use it when these are not there.
NOT_THERE = ("clone3", "openat2")
UNKNOWN = -1  # to libseccomp, which is older than the list or the kernel
# Directives that are read here, beside those of the table.
READ = ("RestrictAddressFamilies", "SystemCallArchitectures",
        "SystemCallErrorNumber", "SystemCallFilter")


def read_unit(path):
    """The directives of [Service]: name -> all its values."""
    unit = {}

    class Every(dict):
        def __setitem__(self, name, value):
            if isinstance(value, list) and name in self:
                value = self[name] + value
            super().__setitem__(name, value)

    parser = configparser.ConfigParser(
        dict_type=Every, strict=False, interpolation=None, delimiters="=",
        comment_prefixes="#")
    parser.optionxform = str
    parser.read(path)
    for name, value in parser["Service"].items():
        unit[name] = value.split("\n")
    return unit


def expand(names):
    """The calls that are meant, with those of @sets."""
    calls = set()
    for name in names:
        if name.startswith("@"):
            text = subprocess.run(
                ["systemd-analyze", "syscall-filter", "--no-pager", name],
                text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                check=True).stdout
            calls |= expand(re.findall(r"^    (@?\w[\w-]*)$", text, re.M))
        else:
            calls.add(name)
    return calls


def allowed(unit):
    """call -> conditions of which one must hold; None is no condition."""
    calls = {}
    for line in unit["SystemCallFilter"]:
        if line.startswith("~"):
            for name in expand(line[1:].split()):
                calls.pop(name, None)
        else:
            calls.update(dict.fromkeys(expand(line.split())))
    families = unit["RestrictAddressFamilies"][0].split()
    calls["socket"] = one_of(0, [getattr(socket, name) for name in families])
    for directive, restricted in RESTRICTIONS.items():
        if unit.get(directive) != ["yes"]:
            continue
        for name, conditions in restricted.items():
            for call in expand([name]):
                if call in calls:
                    calls[call] = conditions
    return calls


def build(unit):
    # Here, so that whoever wants the tables needs no libseccomp.
    from pyseccomp import (ALLOW, ERRNO, MASKED_EQ, Arch, Arg, SyscallFilter,
                           resolve_syscall)
    if unit["SystemCallArchitectures"] != ["native"]:
        raise ValueError("SystemCallArchitectures is not native")
    number = getattr(errno, unit["SystemCallErrorNumber"][0])
    program = SyscallFilter(ERRNO(number))
    for call, conditions in sorted(allowed(unit).items()):
        if resolve_syscall(Arch.NATIVE, call) == UNKNOWN:
            continue
        if call in NOT_THERE:
            program.add_rule(ERRNO(errno.ENOSYS), call)
        elif conditions is None:
            program.add_rule(ALLOW, call)
        else:
            for condition in conditions:
                place, mask, value = condition
                program.add_rule(ALLOW, call,
                                 Arg(place, MASKED_EQ, mask, value))
    return program


if __name__ == "__main__":
    with open(sys.argv[2], "wb") as file:
        build(read_unit(sys.argv[1])).export_bpf(file)
