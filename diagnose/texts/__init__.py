"""The words of `siptrail explain`: tables of texts, one a kind of topic. No code that decides anything stands here."""
