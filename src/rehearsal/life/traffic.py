"""Callers who ask all the time, and what they get."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
from botocore.client import BaseClient

from lifecycle.delivery.answers import make_event, read_predictions

# Who asks at the same time, and how long each waits between two requests.
CALLERS, PAUSE_SECONDS = 3, 0.05


@dataclass(frozen=True)
class Answer:
    """What a caller got: ``version`` is None, and ``said`` the reason, where the request failed.

    Of a classifier a prediction has a number for each class.
    """

    at: float
    seconds: float
    version: str | None
    prediction: tuple[float, ...]
    said: str


@dataclass
class Traffic:
    """All answers, in the order in which they came."""

    answers: list[Answer] = field(default_factory=list)

    def between(self, start: float, end: float = float("inf")) -> list[Answer]:
        """List the answers that came between two moments of ``time.monotonic``."""
        return [answer for answer in list(self.answers) if start <= answer.at <= end]


def ask(functions: BaseClient, target: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
    """Ask the alias for one prediction."""
    event = make_event(row, str(uuid4()))
    start = time.monotonic()
    answer = functions.invoke(
        FunctionName=target["function_name"], Qualifier=target["alias_name"], Payload=json.dumps(event)
    )
    payload = json.loads(answer["Payload"].read())
    now = time.monotonic()
    if payload.get("statusCode") != 200:
        return Answer(now, now - start, None, (), str(payload)[:200])
    prediction = np.atleast_1d(read_predictions(payload)[0])
    return Answer(now, now - start, json.loads(payload["body"])["model_version"], tuple(prediction.tolist()), "")


@contextmanager
def send_traffic(functions: BaseClient, target: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[Traffic]:
    """Ask the alias all the time, as callers do."""
    traffic, stopped = Traffic(), threading.Event()

    def send() -> None:
        while not stopped.wait(PAUSE_SECONDS):
            traffic.answers.append(ask(functions, target, row))

    threads = [threading.Thread(target=send) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
