"""The order to end all jobs now."""

import select
import threading

from cm_exec.handlers.stop import StopNow


def is_readable(stop: StopNow) -> bool:
    return bool(select.select([stop], [], [], 0)[0])


def test_it_is_seen_by_all_that_wait_and_stays() -> None:
    stop = StopNow()
    assert not stop.is_set
    assert not is_readable(stop)
    seen: list[bool] = []
    threads = [threading.Thread(target=lambda: seen.append(bool(select.select([stop], [], [], 30)[0]))) for _ in "abc"]
    for thread in threads:
        thread.start()
    stop.set()
    stop.set()
    for thread in threads:
        thread.join()
    assert seen == [True] * 3
    assert stop.is_set
    assert is_readable(stop)
    stop.close()
