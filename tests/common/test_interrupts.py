"""Signals: noted by a training, passed on by a stage to its kernel."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lib.common import interrupts


def ask(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_signals_are_noted_and_end_nothing(number):
    before = signal.getsignal(number)
    with interrupts.deferred() as asked:
        assert not asked
        ask(number)
        assert asked == [number]
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so():
    """nohup, or a shell's background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.deferred() as asked:
            ask(signal.SIGHUP)
        assert asked == [] and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_is_noted():
    found = []
    thread = threading.Thread(target=lambda: found.append(interrupts.deferred().__enter__()))
    thread.start()
    thread.join()
    assert found == [[]] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_request_is_passed_on_until_it_is_heard(monkeypatch):
    calls = []
    with interrupts.forwarded(lambda: calls.append(1), lambda: False, every=0.01) as asked:
        time.sleep(0.05)
        assert not calls
        ask()
        ask()  # one cancel may come twice
        while len(calls) < 5:
            time.sleep(0.01)
        assert len(asked) == 2
        monkeypatch.setattr(interrupts, "AGAIN", 0.0)
        with pytest.raises(KeyboardInterrupt):
            ask()
    heard = len(calls)
    time.sleep(0.05)
    assert len(calls) == heard


def test_a_kernel_that_has_lost_its_answer_is_not_waited_for(monkeypatch):
    """Only after a request to stop: until then it may be between two cells for as long as it
    likes."""
    monkeypatch.setattr(interrupts, "UNANSWERED", 0.05)
    monkeypatch.setattr(interrupts, "AGAIN", 0.0)
    with interrupts.forwarded(lambda: None, is_idle=lambda: True, every=0.01):
        time.sleep(0.1)
        ask()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(60)


def test_whatever_signals_come_a_command_gets_one_ctrl_c():
    """Snakemake can hang in its handler of SIGTERM; a shell's background ignores SIGINT."""
    command = """if True:
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: time.sleep(600))
        try:
            print("ready", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            time.sleep(0.2)  # another would end this
            print("jobs are cancelled")
            sys.exit(3)
    """
    running = subprocess.Popen(
        [sys.executable, "-m", "lib.common.interrupts", sys.executable, "-c", command],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert running.stdout.readline() == "ready\n"
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
        os.killpg(running.pid, number)
    assert running.communicate(timeout=60)[0] == "jobs are cancelled\n" and running.returncode == 3
