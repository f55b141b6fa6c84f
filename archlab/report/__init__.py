"""Reports: results as tables and documents, and the formats that render them."""
