"""What a request costs in counts does not grow unseen."""

import pathlib
import shutil
import subprocess
import sys

import counts
import pytest

HERE = pathlib.Path(__file__).parent


def test_no_path_has_become_dearer():
    for tool in counts.TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    done = subprocess.run([sys.executable, HERE / "counts.py"], text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", counts.GROWTH)
def test_growth_is_named(name):
    lines = counts.kept()["chat"]
    assert not list(counts.grown("chat", lines))
    lines[name] *= counts.GROWTH[name] + 0.01
    said, = counts.grown("chat", lines)
    assert f"plain chat to vLLM: {name}: " in said
