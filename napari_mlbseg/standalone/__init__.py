"""Files that leave with an exported model: they import nothing of this package.

Export copies them as they are; only the imports among them are renamed.
"""
