"""Traces as OpenTelemetry has them, where `OTEL_EXPORTER_OTLP_ENDPOINT` says where to send them."""
