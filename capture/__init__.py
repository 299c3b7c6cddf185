"""Bytes become messages: capture sources, link, IP and TCP decoding, reassembly."""
