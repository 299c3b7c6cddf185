"""Events become notices: conditions, de-duplication, one sink a file."""
