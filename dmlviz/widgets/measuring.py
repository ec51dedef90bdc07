"""Measuring how far a method is to be trusted while the page stays at work."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmlviz.retrieval import Gallery

SECONDS = 30  # that one method may take


def measured(gallery: "Gallery", method: str) -> Any:
    """What `faithfulness.trust` finds about one method in about `SECONDS`."""
    from dmlviz.faithfulness import trust

    return trust(gallery, methods=[method], budget=SECONDS, progress=False)


class Measuring:
    """Measures methods one after the other on a thread of its own.

    The gallery takes calls from several threads: searches and forward passes of the page come in between.

    Args:
        gallery: What is measured on.
        done: Takes what was found, on that thread.
        changed: Called there when something begins, ends or fails.
    """

    def __init__(self, gallery: "Gallery", done: Callable[[Any], None], changed: Callable[[], None]) -> None:
        self.gallery, self._done, self._changed = gallery, done, changed
        self.waiting: list[str] = []
        self.failed: dict[str, str] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, method: str) -> None:
        """Measure a method after those that were asked for before; once, however often it is asked."""
        with self._lock:
            if method in self.waiting:
                return
            self.failed.pop(method, None)
            self.waiting.append(method)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="dmlviz-measuring", daemon=True)
                self._thread.start()
        self._changed()

    def finished(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to measure, or for so many seconds; returns whether nothing is left."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None

    def _work(self) -> None:
        while True:
            method = self.waiting[0]
            try:
                self._done(measured(self.gallery, method))
            except Exception as problem:  # said in the panel; nobody else would hear it on this thread
                self.failed[method] = f"{type(problem).__name__}: {problem}"
            with self._lock:
                self.waiting.pop(0)
                last = not self.waiting
                if last:
                    self._thread = None
            self._changed()
            if last:
                return
