"""The sum that `make check` prints cannot hide a failure."""

import os
import sys

import pytest
from tools import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests"))
import check  # noqa: E402  (found only through the line above)


def program(stdout, result="OK", stderr=""):
    counted = check.Result()
    check.read_cmocka({"name": "url", "stdout": stdout, "stderr": stderr,
                       "result": result}, counted)
    return (counted.passed, [name for name, _ in counted.failed],
            [name for name, _ in counted.skipped])


def test_cmocka_tests_are_counted_one_by_one():
    text = ("[==========] Running 3 test(s).\n"
            "[       OK ] parses\n[  FAILED  ] refuses\n[  SKIPPED ] waits\n")
    more = ("[  PASSED  ] 1 test(s).\n[  SKIPPED ] 1 test(s), listed below:\n"
            "[  SKIPPED ] waits\n[  FAILED  ] 1 test(s), listed below:\n"
            "[  FAILED  ] refuses\n")
    assert program(text, "FAIL", more) == (1, ["url::refuses"],
                                           ["url::waits"])


def test_a_program_that_dies_is_a_failure():
    assert program("[       OK ] parses\n", "FAIL")[1] == ["url::url"]
    assert program("", "TIMEOUT")[1] == ["url::url"]


def test_a_whole_program_is_no_failure():
    assert program("[       OK ] parses\n") == (1, [], [])


JUNIT = """<testsuites><testsuite>
<properties><property name="hostile" value="229 of 229"/></properties>
<testcase classname="a" name="good[workers1]"/>
<testcase classname="a" name="good[workers4]"/>
<testcase classname="a" name="bad"><failure message="m">text</failure></testcase>
<testcase classname="a" name="broken"><error message="m">text</error></testcase>
<testcase classname="a" name="not"><skipped message="no tool"/></testcase>
</testsuite></testsuites>"""


def test_pytest_results_are_read(tmp_path):
    path = tmp_path / "junit.xml"
    path.write_text(JUNIT)
    result = check.Result()
    check.read_junit(str(path), result)
    assert result.passed == 2
    assert result.failed == [("a::bad", "text"), ("a::broken", "text")]
    assert result.skipped == [("a::not", "no tool")]
    assert result.notes == ["hostile 229 of 229", "WORKERS=1: 1 cases",
                            "WORKERS=4: 1 cases"]


@pytest.fixture
def outcome(monkeypatch, tmp_path):
    """Runs main() with one suite that gives `result`."""
    def with_result(result, ci):
        monkeypatch.setattr(check, "OUT", str(tmp_path))
        monkeypatch.setattr(check, "CI", ci)
        monkeypatch.setattr(check, "run", lambda *_: 0)
        monkeypatch.setattr(check, "run_pytest", lambda *_: result)
        return check.main(["lint"])
    return with_result


def test_a_skip_fails_only_under_ci(outcome, capsys):
    def skipping():
        return check.Result(passed=2, skipped=[("a::not", "no tool")])
    assert outcome(skipping(), ci=False) == 0
    assert capsys.readouterr().out.endswith(
        "\n2 passed, 0 failed, 1 skipped\n")
    assert outcome(skipping(), ci=True) == 1
    assert capsys.readouterr().out.endswith("\n2 passed, 1 failed\n")


def test_nothing_run_is_a_failure(outcome):
    assert outcome(check.Result(), ci=False) == 1
