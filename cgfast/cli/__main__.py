"""`python -m cgfast.cli`: the command without its script."""

from __future__ import annotations

from cgfast.cli import main

if __name__ == "__main__":
    main()
