"""Everything that imports torch: graphs lowered to modules, and independent counters run on them."""
