"""One request to a server that speaks OpenAI's chat completions, tried again where trying again can help."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autovla_core.errors import AutoVLAError

LATER = (408, 409, 425, 429, 500, 502, 503, 504)  # answers that may be others in a while
LONGEST_WAIT_S = 60.0  # of our own choice; a server may ask for more
Message = Mapping[str, object]


class ApiError(AutoVLAError):
    """The server did not answer, or not as its protocol says. ``fatal``: nor will it the next request of this kind."""

    def __init__(self, text: str, fatal: bool = False) -> None:
        super().__init__(text)
        self.fatal = fatal


@dataclass(frozen=True)
class Endpoint:
    """Whom to ask, and how."""

    url: str  # up to and with /v1
    model: str
    key: str = ""
    tokens: int = 700  # of an answer, as in the paper
    temperature: float = 0.2
    timeout_s: float = 180.0
    tries: int = 5
    first_wait_s: float = 1.0  # doubled after each try


def ask(endpoint: Endpoint, messages: Sequence[Message], sleep: Callable[[float], None]) -> str:
    """The text of the answer.

    Raises:
        ApiError: no usable answer after ``tries``, or a refusal that trying again cannot change.
    """
    told, reason = 0.0, ""
    for attempt in range(endpoint.tries):
        if attempt:
            sleep(max(told, min(endpoint.first_wait_s * 2.0 ** (attempt - 1), LONGEST_WAIT_S)))
            told = 0.0
        try:
            return _content(_post(endpoint, messages))
        except urllib.error.HTTPError as refusal:
            reason = f"{refusal.code} {refusal.reason}: {refusal.read(300).decode(errors='replace')}"
            if refusal.code not in LATER:
                raise ApiError(f"{endpoint.url} refuses: {reason}", fatal=refusal.code in (401, 403, 404)) from None
            told = _told_to_wait(refusal)
        except (OSError, http.client.HTTPException, ValueError) as failure:
            reason = f"{type(failure).__name__} {failure}"
    raise ApiError(f"{endpoint.url} gave no answer in {endpoint.tries} tries; the last: {reason}")


def _post(endpoint: Endpoint, messages: Sequence[Message]) -> bytes:
    body = {
        "model": endpoint.model,
        "messages": list(messages),
        "max_tokens": endpoint.tokens,
        "temperature": endpoint.temperature,
    }
    headers = {"Content-Type": "application/json"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    request = urllib.request.Request(
        endpoint.url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers, method="POST"
    )
    with urllib.request.urlopen(request, timeout=endpoint.timeout_s) as answer:
        return answer.read()


def _content(answer: bytes) -> str:
    try:
        text = json.loads(answer)["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"an answer without choices[0].message.content: {error!r}") from None
    if not isinstance(text, str):
        raise ValueError(f"the answer's content is {type(text).__name__}, expected text")
    return text


def _told_to_wait(refusal: urllib.error.HTTPError) -> float:
    told = refusal.headers.get("Retry-After", "")
    return float(told) if told.isdigit() else 0.0
