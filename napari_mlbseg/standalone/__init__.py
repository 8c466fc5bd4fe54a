"""Modules that an exported model takes along: they import nothing else of this package.

The export copies them as they are; only the imports among them are renamed.
"""
