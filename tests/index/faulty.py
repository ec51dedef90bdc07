"""Processes that are killed, that run out of disk, and that read while another writes.

Children are forked, so that a hundred of them cost no hundred imports; each is told when to die.
"""

import os
import signal
import sys
import time
import traceback

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.truncate"}


def forked(work, kill_before=None):
    """Do work in a child; it kills itself (SIGKILL) before its n-th change of the file system where that is said.

    Returns:
        True where the child came to its end, False where it was killed.
    """

    def watched():
        if kill_before is not None:
            _die_before(kill_before)
        work()

    return _ended(_child(watched))


def started(work):
    """Begin work in a child; the function returned says whether it is still at work, and fails where it failed."""
    child = _child(work)
    return lambda: (
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None or not _ended(child)
    )


def killed_after(work, seconds):
    """Do work in a child and kill it (SIGKILL) after a time; False where it was killed, True where it had ended."""
    child = _child(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return _ended(child)


def _child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def _ended(child):
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"the child died of signal {os.WTERMSIG(status)}"
        return False
    assert os.WEXITSTATUS(status) == 0, "the child failed; see its traceback above"
    return True


def _die_before(number):
    left = [number]

    def hook(event, arguments):
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if writes or event in _CHANGES:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
