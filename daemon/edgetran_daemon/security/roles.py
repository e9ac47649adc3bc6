"""Which role each RPC needs. A method that is not in the table is nobody's."""

from __future__ import annotations

from typing import Optional

from edgetran_protos.pairing import ROLES

INFER, MEASURE, DEPLOY, ADMIN = ROLES

DEPLOYMENT = "/edgetran.v1.DeploymentService/"
DEVICE = "/edgetran.v1.DeviceService/"
SIGNERS = "/edgetran.v1.SignerService/"
MEASUREMENT = "/edgetran.v1.MeasurementService/"
INFERENCE = "/inference.GRPCInferenceService/"

NEEDED = {
    f"{DEPLOYMENT}MissingBlobs": MEASURE,  # what is measured must get there
    f"{DEPLOYMENT}PutBlob": MEASURE,
    f"{DEPLOYMENT}PutSignature": MEASURE,
    f"{DEPLOYMENT}Deploy": DEPLOY,
    f"{DEPLOYMENT}ListDeployments": INFER,
    f"{DEPLOYMENT}Rollback": DEPLOY,
    f"{DEPLOYMENT}Remove": DEPLOY,
    f"{DEPLOYMENT}Discard": MEASURE,  # never what is deployed
    f"{DEVICE}Describe": INFER,
    f"{DEVICE}Telemetry": INFER,
    f"{SIGNERS}ListSigners": INFER,
    f"{SIGNERS}AddSigner": ADMIN,  # decides whose models may serve
    f"{SIGNERS}RemoveSigner": ADMIN,
    f"{MEASUREMENT}Measure": MEASURE,
    f"{MEASUREMENT}TestSensor": MEASURE,
    f"{MEASUREMENT}AcquireLease": MEASURE,
    f"{MEASUREMENT}AwaitLease": MEASURE,
    f"{MEASUREMENT}ShowLease": MEASURE,
    f"{MEASUREMENT}RenewLease": MEASURE,
    f"{MEASUREMENT}ReleaseLease": MEASURE,
    "/edgetran.v1.TextService/Predict": INFER,
    f"{INFERENCE}ServerLive": INFER,
    f"{INFERENCE}ServerReady": INFER,
    f"{INFERENCE}ModelReady": INFER,
    f"{INFERENCE}ServerMetadata": INFER,
    f"{INFERENCE}ModelMetadata": INFER,
    f"{INFERENCE}ModelInfer": INFER,
    f"{INFERENCE}ModelStreamInfer": INFER,
    f"{INFERENCE}ModelConfig": INFER,
    f"{INFERENCE}ModelStatistics": INFER,
    f"{INFERENCE}RepositoryIndex": INFER,
    f"{INFERENCE}RepositoryModelLoad": DEPLOY,
    f"{INFERENCE}RepositoryModelUnload": DEPLOY,
    f"{INFERENCE}SystemSharedMemoryStatus": INFER,  # each user's own regions alone
    f"{INFERENCE}SystemSharedMemoryRegister": INFER,
    f"{INFERENCE}SystemSharedMemoryUnregister": INFER,
    f"{INFERENCE}CudaSharedMemoryStatus": INFER,  # there is none
    f"{INFERENCE}CudaSharedMemoryRegister": INFER,
    f"{INFERENCE}CudaSharedMemoryUnregister": INFER,
    "/grpc.health.v1.Health/Check": INFER,
    "/grpc.health.v1.Health/Watch": INFER,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ADMIN,  # maps the board
}


def permits(role: str, method: str) -> bool:
    needed: Optional[str] = NEEDED.get(method)
    return needed is not None and role in ROLES and ROLES.index(role) >= ROLES.index(needed)
