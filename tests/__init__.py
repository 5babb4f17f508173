"""A package: `tests` stays this folder also where an installed library (textstat) brings a package of that name."""
