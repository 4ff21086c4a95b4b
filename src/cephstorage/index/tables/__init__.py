"""The tables, by what they are about. ``index.schema`` puts them together."""
