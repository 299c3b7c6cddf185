"""Where notices go. One file a sink; its module name is its public name."""
