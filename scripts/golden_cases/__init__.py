"""The conformance cases, by sort of operation."""
