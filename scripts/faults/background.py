"""An asyncio loop on a thread of its own, for servers that a test drives from ordinary code."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

PATIENCE_S = 30


class Background:
    """The thread and its loop, from construction to `close`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, step: Coroutine[Any, Any, Any]) -> Any:
        """Runs `step` on the loop and returns what it returns."""
        return asyncio.run_coroutine_threadsafe(step, self.loop).result(PATIENCE_S)

    def close(self) -> None:
        """Ends every task, then the loop and the thread."""
        self.call(_cancel_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
