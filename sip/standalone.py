"""Methods whose transactions can stand alone, outside of any dialog: what is often called noise beside calls."""

STANDALONE = ("OPTIONS", "REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE")
"""RFC 3261 (OPTIONS, REGISTER), RFC 6665 (SUBSCRIBE, NOTIFY), RFC 3903, RFC 3428."""
