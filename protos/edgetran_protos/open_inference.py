"""Open Inference Protocol v2 messages in a descriptor pool of their own.

tritonclient registers the same package, `inference`, in the default pool; two
files with the same symbols cannot share one pool, so ours lives in POOL and a
program may import both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
POOL = descriptor_pool.DescriptorPool()

FILES = descriptor_pb2.FileDescriptorSet.FromString(
    (Path(__file__).parent / "generated" / "open_inference.binpb").read_bytes()
)
for _file in FILES.file:
    POOL.Add(_file)


@lru_cache(maxsize=None)
def message(name: str) -> Any:
    """The message class `inference.<name>`, e.g. message("ModelInferRequest")."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


@dataclass(frozen=True)
class Method:
    request: Any  # class of the message
    response: Any
    streaming: bool  # both ways; the others have one request and one response


def methods() -> dict[str, Method]:
    """By name, every RPC of the service."""
    service = POOL.FindServiceByName(SERVICE)
    return {
        m.name: Method(message(m.input_type.name), message(m.output_type.name), m.client_streaming)
        for m in service.methods
    }
