"""Optional bridges to other packages, which nothing else in hybridcast imports."""
