"""The protocol of vlpserve over gRPC, package vlp.v1: its .proto files and their generated code (`make proto`)."""
