"""The script itself on a clock of the test's: TIME is replaced by a value, and
it runs in a real Redis by EVAL. Never more than N in any window."""

import pytest
from store import script

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
# A day to come: Redis forgets keys that expired in the past.
NOON = 60_000 * DAY + DAY // 2
KEY = "llmp:{test}"


class Clocked:
    def __init__(self, store, now, rpm=0, rpd=0):
        self.link = store.link()
        self.now, self.rpm, self.rpd = now, rpm, rpd
        text = script()
        assert text.count("redis.call('TIME')") == 1
        self.text = text.replace("redis.call('TIME')",
                                 "{ARGV[7], ARGV[8]}")

    def run(self, op, units=1, stamp=(0, 0)):
        seconds, ms = divmod(self.now, 1000)
        return self.link.ask("EVAL", self.text, 1, KEY, op, self.rpm, self.rpd,
                             units, *stamp, seconds, ms * 1000 + 999)

    def take(self, units=1):
        """Whether it was granted, and why not."""
        return tuple(self.run("take", units)[:2])

    def grants(self, tries):
        return sum(self.take()[0] for _ in range(tries))


@pytest.fixture
def clocked(redis):
    made = []

    def make(now=NOON, **limits):
        made.append(Clocked(redis(), now, **limits))
        return made[-1]

    yield make
    for each in made:
        each.link.close()


def test_n_plus_one(clocked):
    clock = clocked(rpm=5, rpd=100)
    for left in (4, 3, 2, 1, 0):
        assert clock.run("take") == [1, 0, left, MINUTE, 95 + left, DAY // 2,
                                     NOON, 60_000]
    assert clock.run("take") == [0, 1, 0, MINUTE, 95, DAY // 2, NOON, 60_000]


def test_the_window_ends_to_the_millisecond(clocked):
    clock = clocked(rpm=3)
    assert clock.grants(4) == 3
    clock.now = NOON + MINUTE - 1
    assert clock.run("take")[:4] == [0, 1, 0, 1]
    clock.now = NOON + MINUTE
    assert clock.run("take")[:4] == [1, 0, 2, MINUTE]
    # Anchored at its first request, not at the end of the one before.
    clock.now = NOON + 3 * MINUTE + 17
    assert clock.run("take")[6] == NOON + 3 * MINUTE + 17


def test_a_denial_takes_of_neither_window(clocked):
    clock = clocked(rpm=2, rpd=3)
    assert clock.grants(9) == 2
    clock.now += MINUTE
    assert clock.grants(9) == 1
    assert clock.take() == (0, 2)
    assert clock.run("peek")[4] == 0
    clock.now += MINUTE
    assert clock.run("peek")[2] == 2


def test_the_day_rolls_at_midnight(clocked):
    clock = clocked(now=60_001 * DAY - 1, rpd=4)
    assert clock.grants(9) == 4
    assert clock.run("take")[5] == 1
    clock.now += 1
    assert clock.grants(9) == 4
    assert clock.run("take")[5:] == [DAY, 60_001 * DAY - 1, 60_001]


def test_many_units_or_none(clocked):
    clock = clocked(rpm=10, rpd=12)
    assert clock.take(8) == (1, 0)
    assert clock.take(3) == (0, 1)
    assert clock.take(2) == (1, 0)
    clock.now += MINUTE
    assert clock.take(3) == (0, 2)
    assert clock.take(2) == (1, 0)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 25 * HOUR, -25 * HOUR,
                                  -49 * HOUR, 1, -1])
def test_clock_jumps(clocked, jump):
    """After a jump ahead windows are over; after one back nothing is given
    twice, nobody waits longer than a minute, and no number is negative."""
    clock = clocked(rpm=5, rpd=8)
    assert clock.grants(3) == 3
    clock.now += jump
    new_minute = jump >= MINUTE
    new_day = jump > DAY or jump < -2 * DAY  # one day back keeps its day
    assert clock.grants(20) == (5 if new_minute else 2)
    ok, _, left, reset, day_left, day_reset, start, day = clock.run("peek")
    assert ok == 0 and left == 0
    assert 0 < reset <= MINUTE and 0 < day_reset <= 2 * DAY
    assert start <= clock.now and day_left >= 0
    assert day == (clock.now // DAY if new_day else 60_000)
    # The window after that is whole again, and the day's limit holds.
    clock.now += MINUTE
    used = (0 if new_day else 3) + (5 if new_minute else 2)
    if new_day and not new_minute:
        used = 2
    assert clock.grants(20) == min(5, 8 - used)


def test_back_and_forth_for_an_hour(clocked):
    """However the clock wobbles, no minute of its own has more than N."""
    clock = clocked(rpm=4)
    granted = []
    for step in (0, HOUR, -HOUR, 30_000, -60_000, 59_999, -59_999, HOUR,
                 -1, 1, -HOUR, HOUR):
        clock.now += step
        granted.append(clock.grants(6))
        assert granted[-1] <= 4
    # Steps back, or of less than a minute, never opened a window.
    assert granted[2] == granted[3] == granted[4] == 0
    assert clock.take()[0] == 0


def test_refunds_find_their_windows(clocked):
    clock = clocked(rpm=3, rpd=5)
    first = clock.run("take")
    stamp = first[6:8]
    assert clock.grants(5) == 2
    assert clock.run("refund", 1, stamp)[0] == 1
    assert clock.grants(5) == 1
    # The minute is another: only the day gets it back.
    clock.now += MINUTE
    assert clock.grants(5) == 2
    assert clock.run("refund", 1, stamp)[0] == 1
    assert clock.grants(5) == 1
    # The day is another, too.
    clock.now += DAY
    assert clock.grants(9) == 3
    assert clock.run("refund", 1, stamp)[0] == 0
    assert clock.take()[0] == 0


def test_a_refund_of_nothing_gives_nothing(clocked):
    clock = clocked(rpm=3)
    assert clock.run("refund", 1, (NOON, 60_000))[0] == 0
    assert clock.link.ask("EXISTS", KEY) == 0
    stamp = clock.run("take")[6:8]
    assert clock.run("refund", 2, stamp)[0] == 0
    assert clock.run("refund", 1, stamp)[0] == 1
    assert clock.run("refund", 1, stamp)[0] == 0
    assert clock.grants(5) == 3


def test_peek_writes_nothing(clocked):
    clock = clocked(rpm=3, rpd=9)
    assert clock.run("peek")[:5] == [1, 0, 3, MINUTE, 9]
    assert clock.link.ask("EXISTS", KEY) == 0
    clock.take()
    before = clock.link.ask("HGETALL", KEY)
    clock.now += 5 * MINUTE
    assert clock.run("peek")[:5] == [1, 0, 3, MINUTE, 8]
    assert clock.link.ask("HGETALL", KEY) == before


def test_a_lowered_limit_is_never_negative(clocked):
    clock = clocked(rpm=9, rpd=20)
    assert clock.grants(8) == 8
    clock.rpm, clock.rpd = 3, 5
    assert clock.run("take")[:5] == [0, 2, 0, MINUTE, 0]


def test_the_key_outlives_its_windows_only(clocked):
    clock = clocked(now=70_000 * DAY + HOUR, rpm=3)
    clock.take()
    assert clock.link.ask("PEXPIRETIME", KEY) == 70_001 * DAY + 1000
    clock.now = 70_001 * DAY - 10
    clock.take()
    assert clock.link.ask("PEXPIRETIME", KEY) == 70_001 * DAY + 60_990
