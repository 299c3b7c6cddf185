"""Messages become rows and calls: columns, the lake, retention, search, ladders and pcap export."""
