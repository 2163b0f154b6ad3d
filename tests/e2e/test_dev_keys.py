"""`cm-exec dev` on a terminal: one letter opens the console, restarts the worker, or quits."""

import os
import pty
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.dev_program import CM_EXEC, dev_environment
from tests.support.processes import wait_until
from tests.support.toml import function


@dataclass
class DevOnTerminal:
    """A `cm-exec dev` on a terminal that the test controls."""

    process: "subprocess.Popen[bytes]"
    terminal: int
    shown: bytearray = field(default_factory=bytearray)

    def read(self) -> None:
        with suppress(OSError):  # the other side is closed
            while piece := os.read(self.terminal, 65536):
                self.shown += piece

    def press(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def wait_for(self, text: bytes, *, times: int = 1) -> None:
        wait_until(lambda: self.shown.count(text) >= times, what=f"{text!r} in {bytes(self.shown)!r}")

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[DevOnTerminal]:
    (tmp_path / "cm.toml").write_text(function("echo", ["cat"]))
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\ntr "\\0" " " < /proc/$$/cmdline >> {tmp_path}/opened\necho >> {tmp_path}/opened\n')
    browser.chmod(0o755)
    terminal, its = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", CM_EXEC, "dev", "--port", "0", "--runtime-port", "0"],
        cwd=tmp_path,
        env={**dev_environment(tmp_path), "BROWSER": str(browser)},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    started = DevOnTerminal(process, terminal)
    threading.Thread(target=started.read, daemon=True).start()
    try:
        started.wait_for(b"keys: o opens the console, r restarts the worker, q quits")
        started.wait_for(b"the worker is connected")
        yield started
    finally:
        process.kill()
        process.wait()
        os.close(its)
        os.close(terminal)


def test_key_o(dev: DevOnTerminal, tmp_path: Path) -> None:
    """The key o opens the console."""
    dev.press(b"o")
    opened = tmp_path / "opened"
    wait_until(lambda: opened.exists() and b"\n" in opened.read_bytes(), what="the browser's start")
    address = opened.read_text().split()[-1]
    assert "token" not in opened.read_text()
    assert bytes(dev.shown).split(b"?token=")[1].split()[0] not in opened.read_bytes()
    sign_in = ["curl", "-sL", "-b", "", "-w", "%{http_code}", address]
    page = subprocess.check_output(sign_in)
    assert b"<title>cm-exec dev</title>" in page
    assert page.endswith(b"200")
    assert subprocess.check_output(sign_in).endswith(b"401")


def test_key_r(dev: DevOnTerminal) -> None:
    """The key r restarts the worker."""
    dev.press(b"r")
    dev.wait_for(b"restart requested; worker restarted")


def test_other_keys(dev: DevOnTerminal) -> None:
    """Other keys do nothing and are not shown."""
    assert not dev.echoes
    dev.press(b"xyz\x1b[A\xff\nr")
    dev.wait_for(b"restart requested; worker restarted")
    assert b"xyz" not in dev.shown
    assert dev.process.poll() is None


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_terminal(dev: DevOnTerminal, key: bytes) -> None:
    """The terminal has its original settings at the end."""
    dev.press(key)
    assert dev.process.wait(60) == 0
    dev.wait_for(b"stopping")
    assert dev.echoes
    assert b"Traceback" not in dev.shown


def test_key_q(dev: DevOnTerminal, tmp_path: Path) -> None:
    """The key q, pressed twice, ends the jobs at once."""
    (tmp_path / "cm.toml").write_text(function("hangs", "touch began; sleep 300"))
    dev.wait_for(b"cm.toml changed; worker restarted")
    token = bytes(dev.shown).split(b"Bearer ")[1].split(b"'")[0].decode()
    address = bytes(dev.shown).split(b"' http://")[1].split(b"/functions")[0].decode()
    url = f"http://{address}/functions/hangs?wait=false"
    subprocess.run(["curl", "-sf", "-H", f"Authorization: Bearer {token}", "-d", "1", url], check=True)
    wait_until((tmp_path / "began").exists, what="the start of the job")
    dev.press(b"q")
    dev.wait_for(b"stopping; Ctrl-C again ends the jobs at once")
    assert dev.process.poll() is None
    dev.press(b"q")
    assert dev.process.wait(60) == 0
