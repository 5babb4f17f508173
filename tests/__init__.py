"""A package, so that `tests` is this folder also where an installed library (textstat) brings a package of that name."""
