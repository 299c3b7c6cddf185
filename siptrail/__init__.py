"""The command line, the configuration, and the service that wires everything together."""

__version__ = "0.1.0"
