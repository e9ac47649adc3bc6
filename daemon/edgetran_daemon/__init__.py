"""The service on the board: deploys, serves and measures bundles.

Empty on purpose: a worker process imports this package and must stay small.
"""
