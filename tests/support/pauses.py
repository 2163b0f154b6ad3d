"""Pauses that take no time."""

from collections.abc import Callable


class Pauses:
    """A `stopped` that waits for nothing and keeps the seconds it was asked to wait.

    `steps` are called one a pause; a true answer says that nobody wants to go on.
    """

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.seconds: list[float] = []
        self._steps = list(steps)

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return bool(self._steps.pop(0)()) if self._steps else False

    def then(self, step: Callable[[], object], *, at: int = 1) -> "Pauses":
        """Do `step` in the pause with the number `at`, counted from one."""
        while len(self._steps) < at - 1:
            self._steps.append(_nothing)
        self._steps.insert(at - 1, step)
        return self

    def assert_backs_off(self) -> None:
        """Each pause is between half and all of 0.2 s, 0.4 s and so on up to 5 s."""
        whole = 0.2
        for seconds in self.seconds:
            assert whole / 2 <= seconds <= whole, self.seconds
            whole = min(5.0, whole * 2)


def _nothing() -> bool:
    return False


def give_up() -> bool:
    """A step: nobody wants to go on."""
    return True
