"""The zoo: architectures written down in the graph language, and the ablations of them."""
