"""Does what grpcurl does with the flags that our pages use, by .proto files or by reflection.

Requests are made from JSON by the compiled descriptors, and really sent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_tools import protoc


def main() -> None:
    parser = argparse.ArgumentParser()
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("-plaintext", action="store_true")
    how.add_argument("-cacert", type=Path)
    parser.add_argument("-cert", type=Path)
    parser.add_argument("-key", type=Path)
    parser.add_argument("-authority")
    parser.add_argument("-import-path")
    parser.add_argument("-proto")
    parser.add_argument("-d", required=True)
    parser.add_argument("address")
    parser.add_argument("method")
    asked = parser.parse_args()
    with opened(asked) as channel:
        if asked.proto:
            pool = compiled(asked.import_path, asked.proto)
        else:
            pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        service, _, name = asked.method.partition("/")
        method = pool.FindServiceByName(service).FindMethodByName(name)
        request = message_factory.GetMessageClass(method.input_type)()
        json_format.Parse(asked.d, request)
        answer = message_factory.GetMessageClass(method.output_type)
        call: Any = channel.unary_unary(
            f"/{asked.method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            print(json_format.MessageToJson(call(request, timeout=30)))
        except grpc.RpcError as error:
            sys.exit(f"ERROR:\n  Code: {error.code()}\n  Message: {error.details()}")


def opened(asked: argparse.Namespace) -> grpc.Channel:
    if asked.plaintext:
        return grpc.insecure_channel(asked.address)
    files = (path.read_bytes() for path in (asked.cacert, asked.key, asked.cert))
    named = [("grpc.ssl_target_name_override", asked.authority)] if asked.authority else None
    return grpc.secure_channel(asked.address, grpc.ssl_channel_credentials(*files), named)


def compiled(folder: str, file: str) -> descriptor_pool.DescriptorPool:
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "set"
        command = ["protoc", f"-I{folder}", f"--descriptor_set_out={out}", "--include_imports"]
        if protoc.main([*command, file]):
            sys.exit(1)
        found = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for one in found.file:
        pool.Add(one)
    return pool


if __name__ == "__main__":
    main()
