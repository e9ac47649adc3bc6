"""Requests to one OCI registry: oras finds credentials and tokens, urllib3 tries again."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import oras.provider
import requests
from edgetran_protos.errors import BundleError
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from edgetran_host.bundling.reference import Reference

WAIT_S = (10.0, 60.0)  # to connect, and between two pieces of an answer
TRIES = Retry(
    total=4,
    connect=1,  # who is not there is not there
    other=0,  # a certificate does not get better
    backoff_factor=0.4,
    status_forcelist=(429, 502, 503, 504),
    raise_on_status=False,
)
DENIED = (401, 403)
CREDENTIALS = "log in with `docker login` or `oras login`; $DOCKER_CONFIG or ~/.docker is read"
logging.getLogger("oras.logger").disabled = True  # what it would say comes as an error of ours


class RegistryError(BundleError):
    """A registry cannot be reached, or does not do what it is asked."""


class Client(oras.provider.Registry):  # type: ignore[misc]
    """One session; `ask` is the only way through it."""

    def __init__(self, reference: Reference, insecure: bool) -> None:
        """insecure: plain http. Raises RegistryError."""
        self.reference = reference
        self._root = f"{'http' if insecure else 'https'}://{reference.host}/v2/"
        super().__init__(hostname=reference.host, insecure=insecure)
        self._be_patient()
        if self._wants_basic():  # oras' other way would take the realm for an address
            super().__init__(hostname=reference.host, insecure=insecure, auth_backend="basic")
            self._be_patient()
        place = self.get_container(f"{reference.host}/{reference.name}")
        self.auth.load_configs(place, configs=_own_configs())

    def ask(
        self,
        method: str,
        address: str,
        *,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """address: below the repository, or a whole URL; another host hears no credentials.

        Raises RegistryError.
        """
        whole = address if "://" in address else f"{self._root}{self.reference.name}/{address}"
        if not whole.startswith(self._root):
            return self._elsewhere(method, whole, data, headers, stream)
        sent = {**self._known(), **(headers or {})}
        send = oras.provider.Registry.do_request.__wrapped__  # without oras' two minutes of tries
        try:
            for _ in range(2):
                found: requests.Response = send(
                    self, whole, method, data=data, headers=dict(sent), stream=stream
                )
                if found.status_code not in DENIED or not getattr(self.auth, "token", None):
                    return found
                self.auth.token = None  # it was for reading, perhaps, and this is writing
            return found
        except (requests.RequestException, AttributeError, ValueError) as exc:
            raise self._failed(exc) from exc

    def refused(self, response: requests.Response, what: str) -> RegistryError:
        """What an answer that says no means."""
        if response.status_code in DENIED:
            return RegistryError(
                f"{self.reference.host} does not allow {what}: {_told(response)}", hint=CREDENTIALS
            )
        return RegistryError(f"{self.reference.host} refused {what}: {_told(response)}")

    def _elsewhere(
        self,
        method: str,
        address: str,
        data: bytes | None,
        headers: dict[str, str] | None,
        stream: bool,
    ) -> requests.Response:
        try:
            found: requests.Response = self.session.request(
                method, address, data=data, headers=headers, stream=stream
            )
            return found
        except requests.RequestException as exc:
            raise self._failed(exc) from exc

    def _known(self) -> dict[str, str]:
        """A password is sent at once, lest a large body go twice."""
        if hasattr(self.auth, "token") or not hasattr(self.auth, "_basic_auth"):
            return {}
        found: dict[str, str] = self.auth.get_auth_header()
        return found

    def _wants_basic(self) -> bool:
        try:
            response = self.session.get(self._root)
        except requests.RequestException as exc:
            raise self._failed(exc) from exc
        challenge = str(response.headers.get("Www-Authenticate", ""))
        return response.status_code == 401 and challenge.lower().startswith("basic")

    def _be_patient(self) -> None:
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _Patient(max_retries=TRIES))

    def _failed(self, exc: Exception) -> RegistryError:
        host = self.reference.host
        if isinstance(exc, requests.exceptions.SSLError):
            hint = "add --insecure for plain http; $REQUESTS_CA_BUNDLE names other authorities"
            return RegistryError(f"{host} shows no certificate that is trusted here", hint=hint)
        if isinstance(exc, requests.RequestException):
            hint = "check the address and the network; add --insecure if it speaks plain http"
            return RegistryError(f"{host} cannot be reached: {_reason(exc)}", hint=hint)
        return RegistryError(f"{host} asks for credentials, and there are none", hint=CREDENTIALS)


class _Patient(HTTPAdapter):
    """oras asks without a limit, and so might wait forever."""

    def send(self, request: Any, *given: Any, **options: Any) -> requests.Response:
        options["timeout"] = options.get("timeout") or WAIT_S
        return super().send(request, *given, **options)


def _own_configs() -> list[str]:
    """oras knows ~/.docker only."""
    folder = os.environ.get("DOCKER_CONFIG", "")
    path = Path(folder) / "config.json"
    return [str(path)] if folder and path.exists() else []


def _told(response: requests.Response) -> str:
    """The registry's own words, if it has any."""
    try:
        errors = response.json()["errors"]
        return "; ".join(str(error.get("message") or error["code"]) for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{response.status_code} {response.reason}"


def _reason(exc: BaseException) -> str:
    """The innermost cause: the outer ones repeat addresses."""
    reason = getattr(exc.args[0], "reason", None) if exc.args else None
    return str(reason or exc).rpartition(": ")[2]
