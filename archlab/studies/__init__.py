"""Studies: the reports that archlab renders about its own zoo, each a function that returns a Document."""
