"""What no answer may tell, and what schemathesis, which is told of this module, has to know of the service."""

import re
import sys
from pathlib import Path
from tempfile import gettempdir

import schemathesis
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
# A traceback, the name of an exception or of a module, a folder of this machine.
LEAKS = re.compile(
    r"Traceback|, line \d|\b[A-Z]\w*(?:Error|Exception)\b|\.py\b|site-packages|onnxruntime|numpy|"
    + "|".join(re.escape(str(folder)) for folder in (ROOT, sys.prefix, gettempdir()))
)

schemathesis.openapi.format("date-time-local", st.datetimes().map(lambda time: time.isoformat()))


@schemathesis.check
def tells_nothing(_ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """Check that an answer holds nothing of the machine that gave it but what was sent itself."""
    leak = LEAKS.search(response.text)
    assert leak is None or leak[0] in repr(case), f"the answer tells {leak}"


@schemathesis.check
def answers_valid_data(
    _ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Check that what the document allows is answered, unless a number is too large for the model.

    In the place of schemathesis' own check: how large a number may be depends on what the domain makes of it.
    """
    if case.meta.generation.mode.is_positive and response.status_code != 200:
        assert (response.status_code, "a number is too large" in response.text) == (400, True), response.text
