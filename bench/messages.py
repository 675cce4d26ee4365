"""What messages cost in a private world on this machine, beside ejabberd and Prosody: see README.md.

./moonbow bench [--peers] [--seconds N] [--only A,B,…] [--json FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from bench.run import main

    raise SystemExit(main())
