"""A model for MLServer as its documentation shows one: sums and largest values of rows."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Sums(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = NumpyCodec.decode_input(payload.inputs[0])
        found = {"sum": values.sum(1, keepdims=True), "largest": values.max(1, keepdims=True)}
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            outputs=[
                NumpyCodec.encode_output(name, array.astype(np.float32))
                for name, array in found.items()
            ],
        )
