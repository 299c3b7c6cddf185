"""Where frames come from. One file a source; a source knows nothing of SIP."""
