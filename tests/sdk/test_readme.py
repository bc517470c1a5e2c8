"""README's first example works as it is written."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADDRESS = "127.0.0.1:8080"


def test_first_example(proxy):
    readme = (ROOT / "README.md").read_text()
    examples = [block for block in
                re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S)
                if "openai" in block]
    assert examples, "README.md shows no Python SDK example"
    assert examples[0].count(ADDRESS) == 1
    program = examples[0].replace(ADDRESS, f"127.0.0.1:{proxy.port}")
    done = subprocess.run([sys.executable, "-c", program],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Hello from the backend." in done.stdout
