"""The time that jobs will take, and the processors that they have."""

from flemme_monai.commands.clock import Clock, duration
from flemme_monai.commands.train_runs import processors


class Now:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def test_what_is_left_takes_as_long_as_its_kind_did():
    now = Now()
    clock = Clock({"a0": "a", "b0": "b", "a1": "a", "b1": "b", "c0": "c"}, 1, now)
    for key, seconds in (("a0", 10), ("b0", 30)):
        clock.start(key)
        now.seconds += seconds
        clock.end(key)
    assert clock.seconds_left() == 10 + 30 + 20  # of a kind that was not seen the mean of all
    clock.start("a1")
    now.seconds += 4
    assert clock.seconds_left() == 6 + 30 + 20
    assert clock.left() == "; about 56 s left"


def test_jobs_at_a_time_share_what_is_left():
    now = Now()
    clock = Clock(dict.fromkeys(range(5), "a"), 2, now)
    clock.start(0)
    now.seconds = 10
    clock.end(0)
    assert clock.seconds_left() == 20


def test_after_the_last_nothing_is_left():
    clock = Clock({0: "a"}, 1)
    clock.start(0)
    clock.end(0)
    assert clock.left() == ""


def test_times_in_words():
    assert [duration(s) for s in (5, 600, 7500)] == ["5 s", "10 min", "2 h 05 min"]


def test_jobs_at_a_time_have_processors_of_their_own(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3, 5}, raising=False)
    groups = processors(2)
    assert [groups.get_nowait() for _ in range(2)] == [{0, 2, 5}, {1, 3}]
    assert processors(1).empty()
    many = processors(7)
    assert [many.get_nowait() for _ in range(7)] == [{0}, {1}, {2}, {3}, {5}, {0}, {1}]
