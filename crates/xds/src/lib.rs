//! Envoy's discovery protocols: resources, sessions, gRPC and the v1 JSON.
