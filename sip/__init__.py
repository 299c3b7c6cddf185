"""What SIP says: messages, headers, SDP, methods, status and Q.850 codes. Pure: bytes in, frozen values out."""
