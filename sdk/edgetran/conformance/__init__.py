"""A black-box suite of the Open Inference Protocol v2, pointed at any gRPC server.

`python -m edgetran.conformance ADDRESS --model NAME` learns the model's tensors from its
metadata and checks what every client relies on. Extensions that a server does not have
are "not offered", which is no failure.
"""
