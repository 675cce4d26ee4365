"""`python -m moonbow.cli`: the same as `moonbow`."""

from . import main

raise SystemExit(main())
