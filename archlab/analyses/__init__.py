"""Analyses: each a function of a graph, each in a file of its own."""
