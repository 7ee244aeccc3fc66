"""Class strings, parameter declarations, and YAML documents with line numbers."""
