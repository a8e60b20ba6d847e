"""A local Azure ML: managed online endpoints over Azure's own protocol, on loopback.

It is to online endpoints what Azurite is to Azure Storage: any unmodified program that uses the Azure
SDKs runs against it with nothing but environment variables set. Route -> handler -> store: `routes` is
the table, `server` the pipeline, `store` the only state, `lifecycle` the only state machine, `scoring`
the data plane, `instances` the processes that run each deployment's real scoring code.

This package imports nothing from the rest of opslib, and is started as a package of its own.
"""
