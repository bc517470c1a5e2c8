"""Reads a Dockerfile as far as ours goes. What this does not know is an error,
so that nothing in the file can be passed over."""

import json
import re
import shlex
from dataclasses import dataclass, field


@dataclass
class Stage:
    """`steps` are what changes files, in order: ("RUN", "make", env, folder)
    or ("COPY", "a b", ...)."""
    base: str
    name: str
    steps: list = field(default_factory=list)
    env: dict = field(default_factory=dict)
    labels: dict = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    exposed: list = field(default_factory=list)
    stop_signal: str = ""
    healthcheck: list = field(default_factory=list)
    entrypoint: list = field(default_factory=list)


def instructions(text):
    """(word, the rest) of each, with its lines joined."""
    text = re.sub(r"^[ \t]*#.*\n", "", text, flags=re.M)
    text = re.sub(r"\\\n", " ", text)
    for line in text.splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def pairs(rest):
    return dict(item.split("=", 1) for item in shlex.split(rest))


def exec_form(rest):
    words = json.loads(rest)
    assert isinstance(words, list) and words, rest
    return words


def take(stage, word, rest):
    if word in ("RUN", "COPY"):
        assert not stage.user, f"{word} after USER"
        stage.steps.append((word, rest, dict(stage.env), stage.workdir))
    elif word == "ENV":
        stage.env.update(pairs(rest))
    elif word == "LABEL":
        stage.labels.update(pairs(rest))
    elif word == "WORKDIR":
        stage.workdir = rest
    elif word == "USER":
        stage.user = rest
    elif word == "EXPOSE":
        stage.exposed += rest.split()
    elif word == "STOPSIGNAL":
        stage.stop_signal = rest
    elif word == "ENTRYPOINT":
        stage.entrypoint = exec_form(rest)
    elif word == "HEALTHCHECK":
        found = re.fullmatch(r"(--[a-z-]+=\S+\s+)*CMD\s+(\[.*\])", rest)
        assert found, f"HEALTHCHECK {rest}"
        stage.healthcheck = exec_form(found[2])
    else:
        raise AssertionError(f"an instruction that is not known here: {word}")


def read_dockerfile(text):
    """Its stages, in order."""
    arguments = {}
    stages = []
    for word, rest in instructions(text):
        if word == "ARG":
            assert not stages, "ARG within a stage"
            arguments.update(pairs(rest))
        elif word == "FROM":
            rest = re.sub(r"\$\{(\w+)\}", lambda of: arguments[of[1]], rest)
            found = re.fullmatch(r"(\S+)(?: AS (\S+))?", rest)
            stages.append(Stage(found[1], found[2] or "image"))
        else:
            take(stages[-1], word, rest)
    return stages


def read_env_file(text):
    """What `docker run --env-file` makes of it: values as they stand."""
    lines = (line.lstrip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines
                if line and not line.startswith("#"))
