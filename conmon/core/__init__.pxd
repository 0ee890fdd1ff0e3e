# The core: inline functions that need no interpreter, one concern per file.
# They are cimported at compile time and import nothing at run time.
