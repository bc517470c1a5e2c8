"""What a request costs in counts does not grow unseen."""

import pathlib
import subprocess
import sys

import counts

HERE = pathlib.Path(__file__).parent


def test_no_path_has_become_dearer():
    done = subprocess.run([sys.executable, HERE / "counts.py"], text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_growth_is_named():
    table = counts.kept()
    assert not list(counts.grown(table))
    for name in counts.judged(table["chat"]):
        part = "http" if name == "instructions" else name
        dearer = {path: dict(lines) for path, lines in table.items()}
        limit = counts.judged(table["chat"])[name]
        dearer["chat"][part] += 0.06 * limit + counts.SLACK[name]
        said, = counts.grown(dearer)
        assert "plain chat to vLLM: " in said and f" {name}, " in said
