"""`python -m conmon`: run the conmon binary that is installed beside this Python."""

import os
import sys
import sysconfig


def main() -> None:
    """Become the binary; the interpreter that started it does not stay."""
    binary = os.path.join(sysconfig.get_path("scripts"), "conmon")
    os.execv(binary, [binary, *sys.argv[1:]])


if __name__ == "__main__":
    main()
