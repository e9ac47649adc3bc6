"""What grpc_health_probe does, by the public health protocol: ADDRESS [SERVICE] -> exit status.

0 serving, 2 nobody answers, 3 the call failed (an unknown service), 4 not serving.
"""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

REACH_S = 30.0
UNREACHED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def main() -> int:
    address, service = sys.argv[1], "".join(sys.argv[2:3])
    with grpc.insecure_channel(address) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            found = health_pb2_grpc.HealthStub(channel).Check(request, timeout=REACH_S)
        except grpc.RpcError as exc:
            if exc.code() in UNREACHED:
                return 2
            print(exc.code().name)
            return 3
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(found.status))
    return 0 if found.status == health_pb2.HealthCheckResponse.SERVING else 4


sys.exit(main())
