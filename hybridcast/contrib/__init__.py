"""Bridges to other packages, imported only by those who want them."""
