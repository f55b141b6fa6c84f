"""The guard: what models may cost, what they did cost, and what changed; every number an exact integer."""
