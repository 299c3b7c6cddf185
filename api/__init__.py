"""Calls over HTTP: the server (FastAPI), the web page, and the client that the other faces use."""
