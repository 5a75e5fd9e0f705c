"""How a worker tells what came of a job: with the message that the job is done, so nobody has to come and ask for it.

To ask takes some hundredths of a second, in which the worker has nothing to do.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from mechshift_core.execution.jobs import Outcome
from mechshift_core.execution.worker import Share

Do = Callable[[Share, str], Outcome]
"""Does a job by its key, in a worker process; a function of a module, or a partial one."""


class Told:
    """What workers have told; to be closed in the end.

    Args:
        client: Dask's.

    Attributes:
        topic: What they tell it under.
    """

    def __init__(self, client: Any) -> None:
        self._client, self._outcomes = client, dict[str, Outcome]()
        self.topic = f"mechshift-{uuid.uuid4().hex}"
        client.subscribe_topic(self.topic, self._hear)

    def take(self, task: str) -> Outcome | None:
        """What came of a task of Dask's; None where it was not told."""
        return self._outcomes.pop(task, None)

    def close(self) -> None:
        """Hear no more."""
        with suppress(Exception):  # a connection that is lost tells nothing either
            self._client.unsubscribe_topic(self.topic)

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _, said = event
        events = tuple((str(name), facts) for name, facts in said["events"])
        self._outcomes[said["task"]] = Outcome(said["reason"], events, said["unfit"])


def do_and_tell(do: Do, topic: str, task: str, share: Share, key: str) -> Outcome:
    """Do a job in a worker and tell what came of it; it is what Dask keeps as well, for one who was not told.

    Args:
        do: Does it.
        topic: What is told is told under.
        task: Its name with Dask.
        share: The worker's part of its machine.
        key: The key of the job.
    """
    from distributed import get_worker

    outcome = do(share, key)
    with suppress(TypeError):  # what can't be written in a message is asked for
        said = {"task": task, "reason": outcome.reason, "events": outcome.events, "unfit": outcome.unfit}
        get_worker().log_event(topic, said)
    return outcome
