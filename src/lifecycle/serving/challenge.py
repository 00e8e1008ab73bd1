"""A challenger beside the champion: whom it answers, and how it predicts without being in the way."""

import hashlib
from collections.abc import Callable
from threading import BoundedSemaphore, Thread
from time import perf_counter
from typing import Any

from lifecycle.serving.journal import write_fault, write_metrics, write_predictions
from lifecycle.serving.request import find_header
from lifecycle.serving.service import SHADOW, Service

# Shadows that are still predicting; one more is left out, so that a slow model cannot take the whole machine.
_SLOTS = BoundedSemaphore(4)


def choose_model(service: Service, event: Any, request_id: str) -> Service:
    """Choose which model answers.

    Parameters
    ----------
    service : Service
        The champion, with or without a challenger.
    event : mapping
        As `lifecycle.serving.request.read_event` takes it; its header that the manifest names says who asks.
    request_id : str
        Stands in for a caller who does not say.

    Returns
    -------
    Service
        The champion, or in a split the challenger, for the same caller always the same.
    """
    if service.challenger is None or service.challenger.variant == SHADOW:
        return service
    rules = service.manifest["serve"]
    key = find_header(event, rules["key"]) or request_id
    return service.challenger if is_dealt(key, rules["salt"], rules["share"]) else service


def is_dealt(key: str, salt: str, share: float) -> bool:
    """Tell whether a caller is dealt to the challenger, by the SHA-256 of salt and key.

    Parameters
    ----------
    key : str
        Names the caller.
    salt : str
        Another one deals all callers anew.
    share : float
        The challenger's, of the callers.

    Returns
    -------
    bool
    """
    # A header may hold what is no text in UTF-8.
    drawn = hashlib.sha256(f"{salt}:{key}".encode(errors="backslashreplace")).digest()
    return int.from_bytes(drawn[:8], "big") < share * 2**64


def predict_beside(shadow: Service, rows: list[dict[str, Any]], many: bool, request_id: str) -> None:
    """Let a shadow predict what the champion has answered, and write that down; whatever happens, nobody notices.

    Parameters
    ----------
    shadow : Service
    rows : list of dict
    many : bool
        As in `Service.predict`.
    request_id : str
    """
    started, about, status, count = perf_counter(), shadow.describe(request_id), 500, 0
    try:
        features, predictions = _wait_for(lambda: shadow.predict(rows, many), shadow.manifest["serve"]["budget_ms"])
        write_predictions(about, features, predictions, 1000 * (perf_counter() - started))
        status, count = 200, len(predictions)
    # Whatever it is, the champion has an answer.
    except Exception as error:  # pylint: disable=broad-exception-caught
        write_fault(about, error)
    write_metrics(about, shadow.namespace, status, count, 1000 * (perf_counter() - started))


def _wait_for(work: Callable[[], Any], budget_ms: float) -> Any:
    """Do some work in a thread of its own, and do not wait for it longer than the budget."""
    # The thread gives it back.
    if not _SLOTS.acquire(blocking=False):  # pylint: disable=consider-using-with
        raise TimeoutError("former requests still wait for the shadow")
    results: list[Any] = []
    faults: list[Exception] = []

    def do() -> None:
        try:
            results.append(work())
        # It is raised again where the result is waited for.
        except Exception as error:  # pylint: disable=broad-exception-caught
            faults.append(error)
        finally:
            _SLOTS.release()

    # A daemon, so that a shadow which never ends does not keep the process alive.
    thread = Thread(target=do, daemon=True)
    thread.start()
    thread.join(budget_ms / 1000)
    if faults:
        raise faults[0]
    if not results:
        raise TimeoutError(f"no prediction within {budget_ms:g} ms")
    return results[0]
