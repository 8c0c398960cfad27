"""The dependency graph: vertices, segments, groups and which of them may be removed together."""
