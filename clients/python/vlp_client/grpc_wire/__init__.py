"""gRPC's messages <-> calls and replies. Needs the extra `grpc`; imported by the transports alone."""
