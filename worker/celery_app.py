"""The Celery worker: `python -m celery -A worker.celery_app worker`. Each setting has its reason beside it.

Pool `threads` with one thread. Measured with Celery 5.7 and one run of a few seconds, three hints sent:
`solo` blocks the consumer, so its own message stays unacknowledged in Redis and would come again after the
visibility timeout; `prefork` and `threads` leave two hints in the queue for others and none unacknowledged,
but a prefork child is daemonic, takes twice the memory, and can be killed without its parent noticing at
once. With threads the worker is one process, whose end is the end of all.
"""

from __future__ import annotations

import functools
from typing import Any

from celery import Celery
from celery.signals import celeryd_after_setup, worker_ready, worker_shutdown, worker_shutting_down

from espo_contracts.wire import queue_name, served
from worker.broker import install
from worker.settings import Settings
from worker.station import Station

settings = Settings()

app = Celery("worker", broker=settings.broker, include=["worker.tasks"])
install(app)
app.conf.update(
    worker_pool="threads",
    worker_concurrency=1,  # one run at a time has the device to itself
    task_default_queue=queue_name(settings.worker_device),
    # Acknowledged before it runs: with late acknowledgement a run longer than the visibility timeout is
    # started again and again. What a lost message costs, the reconciler repairs.
    task_acks_late=False,
    # Hints that this worker cannot take now stay in the queue for one that can.
    worker_disable_prefetch=True,
    worker_prefetch_multiplier=1,
    # The job's status is in the database.
    task_ignore_result=True,
    # A hint is two names: no pickle is ever read.
    task_serializer="json",
    accept_content=["json"],
    broker_transport_options={
        # Guards only messages that were popped and not yet accepted, by a worker that died in between.
        "visibility_timeout": 600,
        # Above the consumer's blocking read; finds half-open connections.
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
    },
    # Redis may be away for any time, at the start too.
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,
    # An outage of the broker must not end a run: the attempt's lease decides.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # Control is the assignment's hash; Celery's remote control would be a second, forgetful one.
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_redirect_stdouts=False,
)


@functools.cache
def station() -> Station:
    """The station of this process, made on first use."""
    return Station(settings)


@celeryd_after_setup.connect
def _listen(instance: Any, **_: Any) -> None:
    """To the queues of jobs on several devices too, beside those of the command line."""
    for resources in served(settings.worker_device, settings.worker_devices)[1:]:
        instance.app.amqp.queues.select_add(queue_name(resources))


@worker_ready.connect
def _open(sender: Any, **_: Any) -> None:
    """In the main thread, once hints can come."""
    # A thread that finishes a task does not wake the consumer, which then looks for the next hint up to a
    # second late (measured: 0.6 s between two runs; with this 0.1 s).
    sender.hub.call_repeatedly(0.1, lambda: None)
    station().open()


@worker_shutting_down.connect
def _hand_back(**_: Any) -> None:
    """At the first SIGTERM or SIGINT, while Celery waits for the task to end."""
    station().hand_back()


@worker_shutdown.connect
def _close(**_: Any) -> None:
    station().close()
