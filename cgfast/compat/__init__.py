"""Drop-in replacements for functions of other packages, one module a package: same names, same answers."""
