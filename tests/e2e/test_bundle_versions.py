"""Bundles of other versions meet a real daemon: older ones serve, newer ones are told apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import grpc
import pytest
from edgetran_protos.bundle import CARD_SCHEMA, Bundle
from edgetran_protos.errors import ERROR_KEY
from edgetran_protos.generated.edgetran.v1 import deployment_pb2 as dep

from tests.card_versions import Change, Rewritten, next_minor, next_schema, schema_1, schema_2
from tests.e2e.test_daemon import Client, daemon


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with daemon(tmp_path_factory.mktemp("state")) as found:
        yield found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "one.tar")
    return made


def send(client: Client, found: Rewritten) -> None:
    for digest, data in found.blobs.items():
        client.put(dep.BlobRef(digest=digest, size_bytes=len(data)), data)


@pytest.mark.parametrize("change", [schema_1, schema_2, next_minor])
def test_it_serves(client: Client, bundle: Bundle, tmp_path: Path, change: Change) -> None:
    found = Rewritten(bundle, change, tmp_path / "other.tar")
    model = change.__name__
    assert client.deploy(Bundle.open(found.path), model)[-1].step == "watch"
    assert client.serving()[model] == found.digest
    [answer] = client.predict("light on", model=model).predictions
    assert answer.label in bundle.card.labels


def test_a_newer_schema_is_named_and_what_serves_goes_on(
    client: Client, bundle: Bundle, tmp_path: Path
) -> None:
    client.deploy(bundle, "steady")
    found = Rewritten(bundle, next_schema, tmp_path / "newer.tar")
    send(client, found)
    with pytest.raises(grpc.RpcError) as caught:
        list(
            client.deployment.Deploy(dep.DeployRequest(model="steady", bundle_digest=found.digest))
        )
    assert f"schema {CARD_SCHEMA + 1}" in caught.value.details()
    assert dict(caught.value.trailing_metadata())[ERROR_KEY] == "BundleError"
    assert client.serving()["steady"] == bundle.digest
    assert client.predict("light on", model="steady").predictions
