"""What grpcurl does: a client that knows nothing but the address, and JSON.

generic_client.py ADDRESS                      the services, one a line
generic_client.py ADDRESS SERVICE/METHOD JSON  the response, or responses, as JSON
"""

from __future__ import annotations

import json
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

ANSWER_S = 60.0


def call(channel: grpc.Channel, pool: DescriptorPool, path: str, request: str) -> list[object]:
    service, _, name = path.partition("/")
    method = pool.FindServiceByName(service).methods_by_name[name]
    kinds = [message_factory.GetMessageClass(k) for k in (method.input_type, method.output_type)]
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    stub = make(
        f"/{path}",
        request_serializer=kinds[0].SerializeToString,
        response_deserializer=kinds[1].FromString,
    )
    answer = stub(json_format.Parse(request, kinds[0]()), timeout=ANSWER_S)
    found = answer if method.server_streaming else [answer]
    return [json_format.MessageToDict(one, preserving_proto_field_name=True) for one in found]


with grpc.insecure_channel(sys.argv[1]) as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    if len(sys.argv) == 2:
        print("\n".join(sorted(database.get_services())))
    else:
        json.dump(call(channel, DescriptorPool(database), *sys.argv[2:4]), sys.stdout)
