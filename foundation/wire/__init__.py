"""HTTP/1.1 on the wire (RFC 9110, RFC 9112): bytes in, events out, no I/O. What is ambiguous is refused, never repaired."""
