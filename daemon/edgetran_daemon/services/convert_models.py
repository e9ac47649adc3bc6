"""What the Open Inference Protocol says of a model: metadata, configuration, statistics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Optional

from edgetran_protos.open_inference import POOL, message

from edgetran_daemon.runtimes.base import TensorSpec
from edgetran_daemon.services.convert_tensors import datatype
from edgetran_daemon.serving.endpoints import Endpoint
from edgetran_daemon.serving.serving_rules import BatchRule
from edgetran_daemon.serving.statistics import Compute, Duration, Statistics
from edgetran_daemon.serving.text import MAX_ROWS

TYPES = POOL.FindEnumTypeByName("inference.DataType").values_by_name
CPU = 2  # ModelInstanceGroup.KIND_CPU


def metadata(endpoint: Endpoint, version: str) -> Any:
    response = message("ModelMetadataResponse")(
        name=endpoint.name, versions=[version], platform=endpoint.model.variant.name
    )
    tensor_metadata(response.inputs, endpoint.inputs)
    tensor_metadata(response.outputs, endpoint.outputs)
    return response


def tensor_metadata(entries: Any, specs: Sequence[TensorSpec]) -> None:
    """Adds one entry a tensor to a repeated TensorMetadata; a free dimension is -1."""
    for spec in specs:
        entries.add(name=spec.name, datatype=datatype(spec.dtype), shape=_sizes(spec))


def configuration(endpoint: Endpoint) -> Any:
    """max_batch_size is 0 where the graph does not leave the rows to the request."""
    specs = [*endpoint.inputs, *endpoint.outputs]
    rows = 1 if all(spec.shape and spec.shape[0] is None for spec in specs) else 0
    model = endpoint.model
    found = message("ModelConfig")(
        name=endpoint.name,
        platform=model.variant.name,
        backend=model.variant.runtime,
        max_batch_size=MAX_ROWS if rows else 0,
        dynamic_batching=_dynamic_batching(model.batches),
        version_policy={"latest": {"num_versions": 1}},
        instance_group=[{"name": endpoint.name, "count": 1, "kind": CPU}],
        parameters={
            "bundle_digest": {"string_value": model.bundle.digest},
            "labels": {"string_value": json.dumps(endpoint.labels)},
        },
    )
    for entries, tensors in ((found.input, endpoint.inputs), (found.output, endpoint.outputs)):
        for spec in tensors:
            entries.add(name=spec.name, data_type=_type(spec), dims=_sizes(spec)[rows:])
    return message("ModelConfigResponse")(config=found)


def _dynamic_batching(rule: BatchRule) -> Optional[dict[str, Any]]:
    """None, which leaves it out, where each request runs by itself."""
    if rule.rows == 1:
        return None
    return {
        "preferred_batch_size": [rule.rows],
        "max_queue_delay_microseconds": round(1e6 * rule.delay_s),
    }


def _type(spec: TensorSpec) -> int:
    name = datatype(spec.dtype)
    return int(TYPES["TYPE_STRING" if name == "BYTES" else f"TYPE_{name}"].number)


def _sizes(spec: TensorSpec) -> list[int]:
    return [-1 if size is None else size for size in spec.shape]


def statistics(name: str, version: str, found: Statistics) -> Any:
    return message("ModelStatistics")(
        name=name,
        version=version,
        last_inference=found.last_unix_ms,
        inference_count=found.inferences,
        execution_count=found.executions,
        inference_stats={
            "success": _duration(found.success),
            "fail": _duration(found.fail),
            "queue": _duration(found.queue),
            **_compute(found.compute),
        },
        batch_stats=[
            {"batch_size": rows, **_compute(compute)}
            for rows, compute in sorted(found.by_batch.items())
        ],
    )


def _compute(compute: Compute) -> dict[str, dict[str, int]]:
    return {
        "compute_input": _duration(compute.input),
        "compute_infer": _duration(compute.infer),
        "compute_output": _duration(compute.output),
    }


def _duration(found: Duration) -> dict[str, int]:
    return {"count": found.count, "ns": found.ns}
