//! HTTP over actix-web: v1 discovery, health, status, metrics, the bosh-dns handler.
