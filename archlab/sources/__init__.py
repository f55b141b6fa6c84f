"""Sources: what a target text or a file becomes a graph through."""
