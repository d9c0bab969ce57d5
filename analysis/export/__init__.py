"""A report in the formats of other people's viewers: Perfetto, flame graphs, Chrome."""
