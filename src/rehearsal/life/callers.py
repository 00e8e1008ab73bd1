"""Callers who ask the deployed function for a month's rows, and tell much later what came true."""

import gzip
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lifecycle.delivery.answers import make_event
from rehearsal.replay import Replay, write_rows

# Who asks at the same time, and for how many rows at once.
CALLERS, ROWS = 2, 10


@dataclass(frozen=True)
class Callers:
    """Clients of the function and of the store, and what Terraform says of both."""

    functions: Any
    store: Any
    target: Mapping[str, Any]

    def ask(self, replay: Replay, name: str) -> tuple[int, int]:
        """Ask the alias for all rows; give how many requests there were, and how many of them failed."""

        def send(first: int) -> bool:
            rows = np.arange(len(replay.target))[first : first + ROWS]
            event = make_event({"rows": list(write_rows(replay, rows))}, f"{name}-{first}")
            answer = self.functions.invoke(
                FunctionName=self.target["function_name"],
                Qualifier=self.target["alias_name"],
                Payload=json.dumps(event),
            )
            return json.loads(answer["Payload"].read()).get("statusCode") == 200

        with ThreadPoolExecutor(CALLERS) as pool:
            answered = list(pool.map(send, range(0, len(replay.target), ROWS)))
        return len(answered), answered.count(False)

    def tell(self, replay: Replay, name: str) -> None:
        """Write what came true into the bucket, where another system would."""
        now = datetime.now(UTC)
        lines = "".join(f"{json.dumps(label)}\n" for label in list_labels(replay, name, now))
        self.store.put_object(
            Bucket=self.target["logs_bucket"],
            Key=f"labels/day={now:%Y-%m-%d}/{name}.gz",
            Body=gzip.compress(lines.encode()),
        )


def list_labels(replay: Replay, name: str, time: datetime) -> Iterator[dict[str, Any]]:
    """List the labels of a month that was asked for under a name."""
    for number, target in enumerate(replay.target):
        row = number % ROWS
        yield {"request_id": f"{name}-{number - row}", "row": row, "time": time.isoformat(), "label": float(target)}
