"""
The wire contract of authsvc, generated from `protos/authapi`.

One package per version: `authapi.v1`. Python path, proto package and folder are the same name. This package holds
messages and gRPC stubs only; judging tokens locally is not here.
"""
