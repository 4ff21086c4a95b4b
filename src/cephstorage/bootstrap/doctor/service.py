"""The running service: whether it answers, and what its clock says."""

import time
from email.utils import parsedate_to_datetime

import httpx

from cephstorage.bootstrap.doctor.finding import CLOCK_TOLERANCE, Finding
from cephstorage.wire.problems import STATUS


async def examine_service(address: str | None) -> list[Finding]:
    """Ask the service at ``address``; None: no address is known."""
    if address is None:
        return [Finding("service", True, "not asked: no address is known")]
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
            answer = await http.get(f"{address.rstrip('/')}/readyz")
    except httpx.ConnectError:
        return [Finding("service", True, f"not running at {address}")]
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return [Finding("service", False, f"{address} is no address", "Write http://HOST:PORT.")]
    except httpx.TransportError as error:
        detail = f"{address} gives no answer ({type(error).__name__})"
        return [Finding("service", False, detail, "See the service's log; or something else listens there.")]
    if answer.status_code == httpx.codes.OK:
        return [Finding("service", True, f"ready at {address}"), *_service_clock(answer, time.time())]
    return [_unready(address, answer)]


def _unready(address: str, answer: httpx.Response) -> Finding:
    """What the service itself says is wrong."""
    try:
        checks = answer.json()["checks"].items()
    except (ValueError, KeyError, AttributeError, TypeError):
        detail = f"{address} answers {answer.status_code}: {answer.text[:200]}"
        return Finding("service", False, detail, "See the service's log; or something else listens there.")
    wrong = [f"{name}: {said}" for name, said in checks if str(said).partition(":")[0] in STATUS]
    return Finding("service", False, f"{address} is not ready. {' '.join(wrong)}", "Correct this; it needs no restart.")


def _service_clock(answer: httpx.Response, now: float) -> list[Finding]:
    try:
        there = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return []
    skew = there - now
    well = abs(skew) <= CLOCK_TOLERANCE
    advice = "" if well else "Synchronise the clocks: signed URLs and leases are judged by them."
    return [Finding("service clock", well, f"{abs(skew):.0f} s apart from this one", advice)]
