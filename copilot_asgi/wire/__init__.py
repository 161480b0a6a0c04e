"""Bytes of the wire formats, without any input or output of their own."""
