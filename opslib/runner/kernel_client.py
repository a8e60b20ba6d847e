"""The client of a run's kernel, which does not wait for messages that do not come."""

from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient


class PromptClient(AsyncKernelClient):  # type: ignore[misc]
    """Jupyter's client, except that it is ready as soon as the kernel reports that it is idle.

    Jupyter's own then waits for 0.2 s, until no further message arrives. nbclient leaves out the messages of other
    requests than its own anyway.
    """

    async def wait_for_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as Jupyter has it
        """Wait until the kernel answers, at most `timeout` [seconds]."""
        channel, idle = self.iopub_channel, False
        receive = channel.get_msg

        async def receive_until_idle(timeout: float | None = None) -> Any:  # noqa: ASYNC109
            nonlocal idle
            if idle:
                raise Empty
            message = await receive(timeout=timeout)
            idle = message["content"].get("execution_state") == "idle"
            return message

        channel.get_msg = receive_until_idle
        try:
            await super().wait_for_ready(timeout)
        finally:
            del channel.get_msg
