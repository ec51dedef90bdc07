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
    """Measures one thing after the other on a thread of its own.

    The gallery takes calls from several threads: searches and forward passes of the page come in between.

    Args:
        measure: Measures a thing by its name, on that thread.
        done: Takes the name and what was found, there.
        changed: Called there when something begins, ends or fails.
    """

    def __init__(
        self, measure: Callable[[str], Any], done: Callable[[str, Any], None], changed: Callable[[], None]
    ) -> None:
        self._measure, self._done, self._changed = measure, done, changed
        self.waiting: list[str] = []
        self.failed: dict[str, str] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, name: str) -> None:
        """Measure this after what was asked for before; once, however often it is asked."""
        with self._lock:
            if name in self.waiting:
                return
            self.failed.pop(name, None)
            self.waiting.append(name)
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
            name = self.waiting[0]
            try:
                self._done(name, self._measure(name))
            except Exception as problem:  # said in the panel; nobody else would hear it on this thread
                self.failed[name] = f"{type(problem).__name__}: {problem}"
            with self._lock:
                self.waiting.pop(0)
                last = not self.waiting
                if last:
                    self._thread = None
            self._changed()
            if last:
                return
